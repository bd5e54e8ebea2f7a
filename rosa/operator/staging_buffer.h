// StagingBuffer: host memory that the transfers of one job after the other use, so that steps allocate nothing.
#pragma once

#include <ATen/ATen.h>

namespace rosa {

class StagingBuffer {
 public:
  // `pinned`: page-locked memory, for copies beside a GPU's work.
  explicit StagingBuffer(bool pinned) : pinned_(pinned) {}

  // Bytes that a tensor of these sizes takes.
  static int64_t bytes_of(at::IntArrayRef sizes, at::ScalarType dtype);

  // Begins anew with room for `num_bytes`, the sum of bytes_of(), and grows where needed. Nothing may use the earlier
  // tensors any more, except copies on the stream that the next copies will be queued on.
  void begin(int64_t num_bytes);
  // The next tensor, contiguous and not initialised.
  at::Tensor take(at::IntArrayRef sizes, at::ScalarType dtype);

  int64_t num_bytes() const { return bytes_.defined() ? bytes_.numel() : 0; }

 private:
  bool pinned_;
  at::Tensor bytes_;
  int64_t num_taken_ = 0;
};

}  // namespace rosa
