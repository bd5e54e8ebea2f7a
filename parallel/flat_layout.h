// FlatLayout: where each of a list of tensors lies in one flat buffer, how the buffer is cut into static buckets, and
// which part of each bucket belongs to which rank. Numbers only: no tensors, no communication, no LibTorch.
//
// Sums of squares are taken over blocks of kNormBlock elements of a tensor. The buffer is made of slots of that size
// and no block crosses the edge of a slot; parts begin and end at edges of slots, so no block belongs to two ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rosa::parallel {

inline constexpr int64_t kNormBlock = 4096;

// Elements [begin, end) of a buffer.
struct FlatRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

// Elements [begin, end) of a tensor, which lie at [offset, offset + end - begin) of the buffer. `begin` is a multiple
// of kNormBlock.
struct TensorPiece {
  size_t tensor = 0;
  int64_t begin = 0;
  int64_t end = 0;
  int64_t offset = 0;
  int64_t size() const { return end - begin; }
};

class FlatLayout {
 public:
  // `sizes`: elements of each tensor. `placement`: the order of the tensors in the buffer, in which their gradients
  // are expected to become complete. A bucket takes tensors as long as they fit into `bucket_elements`; a larger
  // tensor has a bucket of its own. Every bucket is padded to world_size equal parts of whole slots.
  // Throws ArgumentError where placement is no permutation or a size is below 1.
  FlatLayout(std::vector<int64_t> sizes, const std::vector<size_t>& placement, int64_t bucket_elements, int world_size);

  size_t num_tensors() const { return sizes_.size(); }
  int64_t size(size_t tensor) const { return sizes_[tensor]; }
  int64_t offset(size_t tensor) const { return offsets_[tensor]; }
  size_t bucket_of(size_t tensor) const { return bucket_of_[tensor]; }
  // Elements of the buffer, padding included.
  int64_t length() const { return buckets_.back().end; }

  size_t num_buckets() const { return buckets_.size(); }
  const FlatRange& bucket(size_t index) const { return buckets_[index]; }
  // The tensors of a bucket, in the order of placement.
  const std::vector<size_t>& tensors_of(size_t bucket) const { return members_[bucket]; }

  int world_size() const { return world_size_; }
  // The part of a bucket that belongs to `rank`; the parts of a bucket are equally long.
  FlatRange part(size_t bucket, int rank) const;
  // What of the tensors lies in the parts of `rank`, in the order of the tensors (not of placement).
  std::vector<TensorPiece> pieces_of_rank(int rank) const;
  // Every tensor whole, in the order of the tensors.
  std::vector<TensorPiece> whole_tensors() const;

 private:
  void place(const std::vector<size_t>& placement, int64_t bucket_elements);

  std::vector<int64_t> sizes_;
  int world_size_;
  std::vector<int64_t> offsets_;
  std::vector<size_t> bucket_of_;
  std::vector<FlatRange> buckets_;
  std::vector<std::vector<size_t>> members_;
};

}  // namespace rosa::parallel
