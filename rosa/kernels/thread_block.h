// A block of threads on the host: runs kernels that are written as phases between barriers, one thread after the other.
// The device's form is thread_block_device.h. A kernel is a function template over the block; it may use
//   index(), count()                 which block of how many
//   for_each_thread(body)            a phase: body(thread) on every thread, then a barrier
//   PerThread<T>                     a variable of each thread that lives across phases: values[thread]
//   all_reduce<kGroup>(values, op)   combines the values of each kGroup neighbouring threads; all of them get the
//   result add(to, value)                   *to += value, also while other blocks do the same
// What is outside a phase must be the same for all threads.
#pragma once

#include <cstdint>

namespace rosa::kernels {

constexpr int kBlockThreads = 128;

class HostBlock {
 public:
  // reversed: the last thread goes first in every phase, which shows a barrier that is missing.
  HostBlock(int64_t index, int64_t count, bool reversed) : index_(index), count_(count), reversed_(reversed) {}

  template <class Value>
  class PerThread {
   public:
    Value& operator[](int thread) { return values_[thread]; }

   private:
    Value values_[kBlockThreads];
  };

  int64_t index() const { return index_; }
  int64_t count() const { return count_; }

  template <class Body>
  void for_each_thread(const Body& body) {
    for (int n = 0; n < kBlockThreads; ++n) body(reversed_ ? kBlockThreads - 1 - n : n);
  }

  // The order of the device's butterfly: the same bits.
  template <int kGroup, class Value, class Combine>
  void all_reduce(PerThread<Value>& values, const Combine& combine) {
    for (int distance = 1; distance < kGroup; distance *= 2) {
      PerThread<Value> before = values;
      for (int thread = 0; thread < kBlockThreads; ++thread) {
        values[thread] = combine(before[thread], before[thread ^ distance]);
      }
    }
  }

  void add(float* to, float value) { *to += value; }

 private:
  int64_t index_, count_;
  bool reversed_;
};

// Runs kernel(block) for every block of a grid.
template <class Kernel>
void launch_on_host(int64_t num_blocks, bool reversed, const Kernel& kernel) {
  for (int64_t index = 0; index < num_blocks; ++index) {
    HostBlock block(index, num_blocks, reversed);
    kernel(block);
  }
}

}  // namespace rosa::kernels
