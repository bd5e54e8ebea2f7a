// Boxed: an item on the heap, made where it is first needed and copied with its owner. Until then it takes no more than
// a pointer: a state of very many empty sequences stays small.
#pragma once

#include <memory>
#include <utility>

namespace rosa::automaton {

template <class Item>
class Boxed {
 public:
  Boxed() = default;
  Boxed(const Boxed& other) : item_(other.item_ == nullptr ? nullptr : std::make_unique<Item>(*other.item_)) {}
  Boxed(Boxed&&) noexcept = default;
  Boxed& operator=(Boxed other) noexcept {
    std::swap(item_, other.item_);
    return *this;
  }
  ~Boxed() = default;

  // Whether there is an item; only then may it be looked at.
  explicit operator bool() const { return item_ != nullptr; }
  Item* operator->() { return item_.get(); }
  const Item* operator->() const { return item_.get(); }

  // Returns the item, which is made if there is none.
  Item& made() {
    if (item_ == nullptr) item_ = std::make_unique<Item>();
    return *item_;
  }
  void reset() { item_.reset(); }

 private:
  std::unique_ptr<Item> item_;
};

}  // namespace rosa::automaton
