#include "parallel/flat_layout.h"

#include <algorithm>

#include "base/error.h"

namespace rosa::parallel {
namespace {

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Where a tensor may begin at or after `position`: one of more than a block at the edge of a slot, so that its blocks
// are slots; a smaller one wherever it does not cross an edge.
int64_t next_offset(int64_t position, int64_t size) {
  const int64_t rest_of_slot = round_up(position, kNormBlock) - position;
  return size <= rest_of_slot ? position : round_up(position, kNormBlock);
}

}  // namespace

FlatLayout::FlatLayout(std::vector<int64_t> sizes, const std::vector<size_t>& placement, int64_t bucket_elements,
                       int world_size)
    : sizes_(std::move(sizes)), world_size_(world_size), offsets_(sizes_.size()), bucket_of_(sizes_.size()) {
  base::require(!sizes_.empty() && bucket_elements >= 1 && world_size >= 1, "FlatLayout: got ", sizes_.size(),
                " tensors, buckets of ", bucket_elements, " elements and ", world_size,
                " ranks, expected at least 1 of each");
  std::vector<bool> placed(sizes_.size(), false);
  for (const size_t tensor : placement) {
    base::require(tensor < sizes_.size() && !placed[tensor], "FlatLayout: placement is no permutation of ",
                  sizes_.size(), " tensors: entry ", tensor);
    base::require(sizes_[tensor] >= 1, "FlatLayout: tensor ", tensor, " has ", sizes_[tensor],
                  " elements, expected at least 1");
    placed[tensor] = true;
  }
  base::require(placement.size() == sizes_.size(), "FlatLayout: placement names ", placement.size(), " of ",
                sizes_.size(), " tensors");
  place(placement, bucket_elements);
}

void FlatLayout::place(const std::vector<size_t>& placement, int64_t bucket_elements) {
  int64_t position = 0;
  const auto close_bucket = [&] {
    FlatRange& bucket = buckets_.back();
    position = bucket.begin + round_up(position - bucket.begin, kNormBlock * world_size_);
    bucket.end = position;
  };
  for (const size_t tensor : placement) {
    const int64_t size = sizes_[tensor];
    const bool fits =
        !buckets_.empty() && next_offset(position, size) + size - buckets_.back().begin <= bucket_elements;
    if (!fits) {
      if (!buckets_.empty()) close_bucket();
      buckets_.push_back({position, position});
      members_.emplace_back();
    }
    offsets_[tensor] = next_offset(position, size);
    position = offsets_[tensor] + size;
    bucket_of_[tensor] = buckets_.size() - 1;
    members_.back().push_back(tensor);
  }
  close_bucket();
}

FlatRange FlatLayout::part(size_t bucket, int rank) const {
  const FlatRange& range = buckets_[bucket];
  const int64_t length = range.size() / world_size_;
  return {range.begin + rank * length, range.begin + (rank + 1) * length};
}

std::vector<TensorPiece> FlatLayout::pieces_of_rank(int rank) const {
  std::vector<TensorPiece> pieces;
  for (size_t tensor = 0; tensor < sizes_.size(); ++tensor) {
    const FlatRange mine = part(bucket_of_[tensor], rank);
    const int64_t begin = std::max(mine.begin, offsets_[tensor]);
    const int64_t end = std::min(mine.end, offsets_[tensor] + sizes_[tensor]);
    if (begin < end) pieces.push_back({tensor, begin - offsets_[tensor], end - offsets_[tensor], begin});
  }
  return pieces;
}

std::vector<TensorPiece> FlatLayout::whole_tensors() const {
  std::vector<TensorPiece> pieces;
  for (size_t tensor = 0; tensor < sizes_.size(); ++tensor) {
    pieces.push_back({tensor, 0, sizes_[tensor], offsets_[tensor]});
  }
  return pieces;
}

}  // namespace rosa::parallel
