// Workspace: one block of memory, handed out piece by piece and taken back all at once. It grows to the largest need
// and keeps that, so that in the steady state nothing is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace rosa::automaton {

class Workspace {
 public:
  static constexpr size_t kAlignment = 64;

  // Takes back all pieces and makes sure of `num_bytes` for those to come, each rounded up to kAlignment.
  void reserve(size_t num_bytes);
  // Returns the next piece: not initialised, aligned to kAlignment. The pieces must fit what was reserved.
  std::byte* take(size_t num_bytes);

  template <class Item>
  Item* take_items(size_t num_items) {
    return reinterpret_cast<Item*>(take(num_items * sizeof(Item)));
  }

  // Takes back what was taken since num_bytes_taken() was `num_bytes_taken`.
  void rewind(size_t num_bytes_taken) { taken_ = num_bytes_taken; }
  size_t num_bytes_taken() const { return taken_; }
  size_t num_bytes() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* block) const;
  };

  std::unique_ptr<std::byte, Free> block_;
  size_t size_ = 0;
  size_t taken_ = 0;
};

}  // namespace rosa::automaton
