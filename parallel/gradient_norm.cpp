#include "parallel/gradient_norm.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace rosa::parallel {
namespace {

// In an order of its own instead of at::sum's, which depends on shape and threads. The products are exact in float64.
double square_sum(const float* values, int64_t size) {
  constexpr int64_t kLanes = 8;
  std::array<double, kLanes> lanes{};
  const int64_t whole = size / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      lanes[static_cast<size_t>(lane)] += value * value;
    }
  }
  double total = 0.0;
  for (const double lane : lanes) total += lane;
  for (int64_t i = whole; i < size; ++i) total += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return total;
}

// Writes the sums of the piece's blocks.
void write_block_sums(const at::Tensor& values, double* sums) {
  const int64_t size = values.numel();
  if (values.is_cpu()) {
    const float* data = values.const_data_ptr<float>();
    for (int64_t begin = 0; begin < size; begin += kNormBlock) {
      *sums++ = square_sum(data + begin, std::min(kNormBlock, size - begin));
    }
    return;
  }
  const auto write_rows = [&](const at::Tensor& rows) {
    const at::Tensor of_rows = rows.to(at::kDouble).square().sum(1).cpu();
    sums = std::copy_n(of_rows.const_data_ptr<double>(), of_rows.numel(), sums);
  };
  const int64_t whole = size / kNormBlock * kNormBlock;
  if (whole > 0) write_rows(values.narrow(0, 0, whole).view({-1, kNormBlock}));
  if (whole < size) write_rows(values.narrow(0, whole, size - whole).view({1, -1}));
}

int64_t num_blocks(int64_t size) { return (size + kNormBlock - 1) / kNormBlock; }

}  // namespace

double gradient_norm(Communicator& communicator, const FlatLayout& layout, const at::Tensor& flat, bool sharded) {
  at::NoGradGuard no_grad;
  std::vector<size_t> first_block;
  size_t total_blocks = 0;
  for (size_t tensor = 0; tensor < layout.num_tensors(); ++tensor) {
    first_block.push_back(total_blocks);
    total_blocks += static_cast<size_t>(num_blocks(layout.size(tensor)));
  }
  std::vector<double> sums(total_blocks, 0.0);
  for (const TensorPiece& piece : sharded ? layout.pieces_of_rank(communicator.rank()) : layout.whole_tensors()) {
    double* target = sums.data() + first_block[piece.tensor] + piece.begin / kNormBlock;
    write_block_sums(flat.narrow(0, piece.offset, piece.size()), target);
  }
  // Every block has one owner; the others add zero, which changes no bit.
  if (sharded) sums = communicator.all_reduce_values(sums, Reduction::sum);
  double total = 0.0;
  auto block = sums.begin();
  for (size_t tensor = 0; tensor < layout.num_tensors(); ++tensor) {
    double of_tensor = 0.0;
    for (int64_t i = 0; i < num_blocks(layout.size(tensor)); ++i) of_tensor += *block++;
    total += of_tensor;
  }
  return std::sqrt(total);
}

}  // namespace rosa::parallel
