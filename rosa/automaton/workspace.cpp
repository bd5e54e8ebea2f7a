#include "rosa/automaton/workspace.h"

#include <new>

#include "base/error.h"

namespace rosa::automaton {

void Workspace::reserve(size_t num_bytes) {
  taken_ = 0;
  if (num_bytes <= size_) return;
  block_.reset();
  size_ = 0;
  block_.reset(static_cast<std::byte*>(::operator new (num_bytes, std::align_val_t{kAlignment})));
  size_ = num_bytes;
}

std::byte* Workspace::take(size_t num_bytes) {
  const size_t rounded = (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  base::require(rounded <= size_ - taken_, "Workspace::take: asked for ", num_bytes, " bytes, ", size_ - taken_,
                " are left of ", size_, "; the caller reserved too little");
  std::byte* piece = block_.get() + taken_;
  taken_ += rounded;
  return piece;
}

void Workspace::Free::operator()(std::byte* block) const { ::operator delete (block, std::align_val_t{kAlignment}); }

}  // namespace rosa::automaton
