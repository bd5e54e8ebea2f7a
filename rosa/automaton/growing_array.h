// GrowingArray: a vector of plain items that grows in place where the system can move pages, and by an eighth only: a
// long stream neither copies its past nor holds much more than it needs.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace rosa::automaton {

template <class Item>
class GrowingArray {
  static_assert(std::is_trivially_copyable_v<Item>);

 public:
  GrowingArray() = default;
  GrowingArray(const GrowingArray& other) {
    reserve(other.size_);
    if (other.size_ > 0) std::memcpy(items_.get(), other.items_.get(), other.size_ * sizeof(Item));
    size_ = other.size_;
  }
  GrowingArray(GrowingArray&& other) noexcept { swap(other); }
  GrowingArray& operator=(GrowingArray other) noexcept {
    swap(other);
    return *this;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Item& operator[](size_t i) { return items_.get()[i]; }
  const Item& operator[](size_t i) const { return items_.get()[i]; }
  const Item& back() const { return items_.get()[size_ - 1]; }
  const Item* data() const { return items_.get(); }
  size_t num_bytes() const { return capacity_ * sizeof(Item); }

  void push_back(Item item) {
    if (size_ == capacity_) reserve(size_ + size_ / 8 + 16);
    items_.get()[size_++] = item;
  }
  // Appends `count` items that are not initialised, and returns the first of them.
  Item* extend(size_t count) {
    if (size_ + count > capacity_) reserve(size_ + count + size_ / 8 + 16);
    size_ += count;
    return items_.get() + size_ - count;
  }
  void truncate(size_t size) { size_ = size; }
  void clear() { size_ = 0; }

  void reserve(size_t capacity) {
    if (capacity <= capacity_) return;
    void* moved = std::realloc(items_.get(), capacity * sizeof(Item));
    if (moved == nullptr) throw std::bad_alloc();
    static_cast<void>(items_.release());
    items_.reset(static_cast<Item*>(moved));
    capacity_ = capacity;
  }

 private:
  struct Free {
    void operator()(Item* items) const { std::free(items); }
  };

  void swap(GrowingArray& other) noexcept {
    std::swap(items_, other.items_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  std::unique_ptr<Item, Free> items_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace rosa::automaton
