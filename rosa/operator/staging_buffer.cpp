#include "rosa/operator/staging_buffer.h"

#include "base/error.h"

namespace rosa {
namespace {

constexpr int64_t kAlignment = 64;

}  // namespace

int64_t StagingBuffer::bytes_of(at::IntArrayRef sizes, at::ScalarType dtype) {
  const int64_t num_bytes = c10::multiply_integers(sizes) * static_cast<int64_t>(c10::elementSize(dtype));
  return (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void StagingBuffer::begin(int64_t num_bytes) {
  num_taken_ = 0;
  if (num_bytes <= this->num_bytes()) return;
  bytes_ = at::empty({num_bytes}, at::TensorOptions(at::kByte).pinned_memory(pinned_));
}

at::Tensor StagingBuffer::take(at::IntArrayRef sizes, at::ScalarType dtype) {
  const int64_t num_bytes = bytes_of(sizes, dtype);
  base::require(num_taken_ + num_bytes <= this->num_bytes(), "StagingBuffer: ", num_bytes, " bytes beside ", num_taken_,
                " of ", this->num_bytes(), "; begin() was asked for too few");
  const int64_t size = c10::multiply_integers(sizes) * static_cast<int64_t>(c10::elementSize(dtype));
  const at::Tensor taken = bytes_.narrow(0, num_taken_, size).view(dtype).view(sizes);
  num_taken_ += num_bytes;
  return taken;
}

}  // namespace rosa
