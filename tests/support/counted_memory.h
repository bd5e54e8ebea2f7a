// CountedMemory: how many bytes the tensors on the CPU hold, and held at most, while it lives. For tests that compare
// with what was computed beforehand.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace rosa::testing {

class CountedMemory {
 public:
  CountedMemory() : before_(c10::GetCPUAllocator()) {
    c10::SetCPUAllocator(&counter(), kPriority);
    restart_peak();
  }
  ~CountedMemory() { c10::SetCPUAllocator(before_, kPriority); }
  CountedMemory(const CountedMemory&) = delete;
  CountedMemory& operator=(const CountedMemory&) = delete;

  int64_t live_bytes() const { return counter().live; }
  int64_t peak_bytes() const { return counter().peak; }
  // The peak counts anew from what is held now.
  void restart_peak() { counter().peak = counter().live.load(); }

 private:
  static constexpr uint8_t kPriority = 100;

  // Before the bytes of a tensor, so that these stay aligned: their number.
  static constexpr size_t kHeader = 64;

  struct Counter final : c10::Allocator {
    std::atomic<int64_t> live = 0, peak = 0;

    c10::DataPtr allocate(size_t num_bytes) override {
      char* block = static_cast<char*>(c10::alloc_cpu(num_bytes + kHeader));
      *reinterpret_cast<int64_t*>(block) = static_cast<int64_t>(num_bytes);
      const int64_t now = live += static_cast<int64_t>(num_bytes);
      int64_t highest = peak;
      while (now > highest && !peak.compare_exchange_weak(highest, now)) {
      }
      return {block + kHeader, block + kHeader, &release, c10::Device(c10::DeviceType::CPU)};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &release; }
    void copy_data(void* to, const void* from, size_t num_bytes) const override {
      default_copy_data(to, from, num_bytes);
    }
    static void release(void* data) {
      if (data == nullptr) return;
      char* block = static_cast<char*>(data) - kHeader;
      counter().live -= *reinterpret_cast<int64_t*>(block);
      c10::free_cpu(block);
    }
  };

  static Counter& counter() {
    static Counter counter;
    return counter;
  }

  c10::Allocator* before_;
};

}  // namespace rosa::testing
