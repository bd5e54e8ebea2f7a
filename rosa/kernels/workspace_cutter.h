// WorkspaceCutter: lays arrays out in one block of memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rosa::kernels {

// Cuts a workspace into arrays; without one it only measures.
class WorkspaceCutter {
 public:
  explicit WorkspaceCutter(std::byte* begin) : begin_(begin) {}
  template <class Element>
  Element* take(int64_t count) {
    const int64_t offset = size_;
    size_ += (count * static_cast<int64_t>(sizeof(Element)) + kAlignment - 1) / kAlignment * kAlignment;
    return begin_ == nullptr ? nullptr : reinterpret_cast<Element*>(begin_ + offset);
  }
  int64_t size() const { return size_; }

 private:
  static constexpr int64_t kAlignment = 64;

  std::byte* begin_;
  int64_t size_ = 0;
};

}  // namespace rosa::kernels
