#include "rosa/kernels/proxy_grid.h"

#include <algorithm>

#include "rosa/kernels/dense_surrogate_blocks.h"
#include "rosa/kernels/soft_rosa_blocks.h"
#include "rosa/kernels/sufa_blocks.h"

namespace rosa::kernels {
namespace {

// Blocks with a workspace: several for each multiprocessor. More work than that is reached by the grid's stride.
constexpr int64_t kMaxBlocksWithWorkspace = 512;
constexpr int64_t kMaxBlocks = 1 << 20;

int64_t num_heads(const ProxyArguments& p) { return p.num_segments * p.num_heads; }

}  // namespace

int64_t proxy_forward_blocks(ProxyKind kind, const ProxyArguments& p) {
  if (kind == ProxyKind::soft_rosa) return std::min(num_heads(p), kMaxBlocksWithWorkspace);
  return std::min(num_heads(p) * round_up_div(p.max_length, kTileRows), kMaxBlocks);
}

int64_t proxy_backward_blocks(ProxyKind kind, const ProxyArguments& p) {
  const int64_t diagonals = kind == ProxyKind::soft_rosa ? p.max_length : std::min(p.max_length, p.max_distance);
  return std::min(num_heads(p) * round_up_div(diagonals, kBlockThreads), kMaxBlocksWithWorkspace);
}

int64_t proxy_workspace_bytes(ProxyKind kind, const ProxyArguments& p) {
  const int64_t backward_blocks = proxy_backward_blocks(kind, p);
  if (kind == ProxyKind::sufa) {
    return backward_blocks * sufa_ring_rows(p) * kBlockThreads * static_cast<int64_t>(sizeof(float));
  }
  if (kind == ProxyKind::dense_surrogate) {
    return backward_blocks * kTileRows * kBlockThreads * static_cast<int64_t>(sizeof(float));
  }
  const auto size = static_cast<int64_t>(sizeof(RunSums));
  return std::max(proxy_forward_blocks(kind, p) * p.max_length, backward_blocks * soft_rosa_checkpoints(p)) * size;
}

}  // namespace rosa::kernels
