// The CUDA kernels of the proxies, run on the host: every phase of every block and thread, against the definition.
#include <gtest/gtest.h>

#include <cstring>

#include "rosa/kernels/dense_surrogate_blocks.h"
#include "rosa/kernels/soft_rosa_blocks.h"
#include "rosa/kernels/sufa_blocks.h"
#include "tests/rosa/kernels/packed_proxy.h"

namespace rosa::kernels {
namespace {

using testing::expect_near;
using testing::PackedArrays;
using testing::PackedCase;

// Shared memory as a block finds it: anything.
template <class Shared>
Shared dirty() {
  Shared shared;
  std::memset(&shared, 255, sizeof(shared));
  return shared;
}

template <int kMaxValueBits>
void forward_on_host(ProxyKind kind, const ProxyArguments& p, bool reversed) {
  const auto num_blocks = proxy_forward_blocks(kind, p);
  if (kind == ProxyKind::sufa) {
    launch_on_host(num_blocks, reversed, [&](HostBlock& block) {
      auto scores = dirty<Tile<float>>();
      sufa_forward_block<kMaxValueBits>(block, p, scores);
    });
  } else if (kind == ProxyKind::dense_surrogate) {
    launch_on_host(num_blocks, reversed, [&](HostBlock& block) {
      auto roots = dirty<Tile<float>>();
      dense_surrogate_forward_block<kMaxValueBits>(block, p, roots);
    });
  } else {
    launch_on_host(num_blocks, reversed, [&](HostBlock& block) {
      auto runs = dirty<Tile<double>>();
      soft_rosa_forward_block<kMaxValueBits>(block, p, runs);
    });
  }
}

void backward_on_host(ProxyKind kind, const ProxyArguments& p, int64_t num_blocks, bool reversed) {
  launch_on_host(num_blocks, reversed, [&](HostBlock& block) {
    auto grad_products = dirty<Tile<float>>(), weights = dirty<Tile<float>>();
    if (kind == ProxyKind::sufa) sufa_backward_block(block, p, grad_products, weights);
    if (kind == ProxyKind::soft_rosa) soft_rosa_backward_block(block, p, grad_products, weights);
    if (kind == ProxyKind::dense_surrogate) dense_surrogate_backward_block(block, p, grad_products, weights);
  });
}

// Everything that the launches write.
struct Written {
  std::vector<float> output, grad_query, grad_key, grad_value;
};

Written run_on_host(ProxyKind kind, const PackedCase& c, const PackedArrays& arrays, int64_t max_blocks,
                    bool reversed) {
  ProxyArguments p = testing::make_arguments(kind, c);
  const size_t rows = static_cast<size_t>(c.num_rows * p.num_heads * p.length);
  std::vector<double> log_totals(rows), means(rows);
  std::vector<float> confidences(rows), grad_best_runs(rows);
  std::vector<int32_t> best_distances(rows);
  std::vector<std::byte> workspace(static_cast<size_t>(proxy_workspace_bytes(kind, p)), std::byte{255});
  Written written{std::vector<float>(arrays.output.size()), std::vector<float>(arrays.query.size()),
                  std::vector<float>(arrays.key.size()), std::vector<float>(arrays.value.size())};
  p.bias = arrays.bias.data(), p.segments = arrays.segments.data();
  p.query = arrays.query.data(), p.key = arrays.key.data(), p.value = arrays.value.data();
  p.output = written.output.data(), p.grad_output = arrays.grad_output.data();
  p.grad_query = written.grad_query.data(), p.grad_key = written.grad_key.data();
  p.grad_value = written.grad_value.data();
  p.log_totals = log_totals.data(), p.means = means.data(), p.confidences = confidences.data();
  p.grad_best_runs = grad_best_runs.data(), p.best_distances = best_distances.data();
  p.workspace = workspace.data();
  p.value_bits <= 8 ? forward_on_host<8>(kind, p, reversed) : forward_on_host<64>(kind, p, reversed);
  std::fill(workspace.begin(), workspace.end(), std::byte{255});
  backward_on_host(kind, p, std::min(max_blocks, proxy_backward_blocks(kind, p)), reversed);
  return written;
}

void check_all(ProxyKind kind) {
  for (const PackedCase& c : testing::packed_cases(kind)) {
    SCOPED_TRACE(c.sizes.text() + ", documents " + std::to_string(c.documents.size()) + ", first " +
                 std::to_string(c.documents[0]));
    const PackedArrays arrays = make_packed(kind, c);
    const Written written = run_on_host(kind, c, arrays, int64_t{1} << 40, false);
    const double scale = kind == ProxyKind::sufa ? c.sizes.scale : 1 / c.sizes.attn_tau;
    expect_near(written.output, arrays.output, 1e-3, "output");
    expect_near(written.grad_query, arrays.grad_query, 0.2 * scale, "grad_query");
    expect_near(written.grad_key, arrays.grad_key, 0.2 * scale, "grad_key");
    expect_near(written.grad_value, arrays.grad_value, 1e-3, "grad_value");
    // The order of the threads within a phase changes nothing, and a grid smaller than the work does all of it.
    const Written reversed = run_on_host(kind, c, arrays, int64_t{1} << 40, true);
    EXPECT_EQ(reversed.output, written.output);
    EXPECT_EQ(reversed.grad_query, written.grad_query);
    EXPECT_EQ(reversed.grad_key, written.grad_key);
    EXPECT_EQ(reversed.grad_value, written.grad_value);
    const Written small_grid = run_on_host(kind, c, arrays, 1, false);
    expect_near(small_grid.grad_query, arrays.grad_query, 0.2 * scale, "grad_query, one block");
    expect_near(small_grid.grad_value, arrays.grad_value, 1e-3, "grad_value, one block");
  }
}

TEST(ProxyBlocks, SufaEqualsTheDefinition) { check_all(ProxyKind::sufa); }
TEST(ProxyBlocks, SoftRosaEqualsTheDefinition) { check_all(ProxyKind::soft_rosa); }
TEST(ProxyBlocks, DenseSurrogateEqualsTheDefinition) { check_all(ProxyKind::dense_surrogate); }

// All gradients cancel, and what they are off is multiplied by the length: here by the largest entries alone.
TEST(ProxyBlocks, SoftRosaOfConstantInputIsExactEnoughAt2048) {
  PackedCase c;
  c.sizes.input = "constant";
  c.documents = {2048};
  const PackedArrays arrays = make_packed(ProxyKind::soft_rosa, c);
  const Written written = run_on_host(ProxyKind::soft_rosa, c, arrays, int64_t{1} << 40, false);
  expect_near(written.output, arrays.output, 0, "output");
  expect_near(written.grad_query, arrays.grad_query, 0, "grad_query");
  expect_near(written.grad_key, arrays.grad_key, 0, "grad_key");
  expect_near(written.grad_value, arrays.grad_value, 0, "grad_value");
}

TEST(ProxyBlocks, WorkspaceIsLinearInTheLength) {
  for (const ProxyKind kind : {ProxyKind::sufa, ProxyKind::soft_rosa, ProxyKind::dense_surrogate}) {
    PackedCase c;
    c.sizes.heads = 16;
    c.documents = {65536};
    const int64_t bytes = proxy_workspace_bytes(kind, testing::make_arguments(kind, c));
    c.documents = {131072};
    EXPECT_LE(proxy_workspace_bytes(kind, testing::make_arguments(kind, c)), 2 * bytes);
  }
}

TEST(ThreadBlock, ReductionsGiveEveryThreadOfAGroupTheSame) {
  HostBlock block(0, 1, false);
  HostBlock::PerThread<float> values;
  block.for_each_thread([&](int thread) { values[thread] = static_cast<float>(thread % 4 + 1); });
  block.all_reduce<4>(values, [](float a, float b) { return a + b; });
  block.for_each_thread([&](int thread) { EXPECT_EQ(values[thread], 10); });
}

}  // namespace
}  // namespace rosa::kernels
