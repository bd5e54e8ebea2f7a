// The way to the CUDA kernels, with the kernels' blocks run on the host: against the composition.
#include "rosa/operator/fused_device.h"

#include <gtest/gtest.h>

#include "rosa/kernels/dense_surrogate_blocks.h"
#include "rosa/kernels/proxy_grid.h"
#include "rosa/kernels/soft_rosa_blocks.h"
#include "rosa/kernels/sufa_blocks.h"
#include "rosa/operator/proxies.h"
#include "tests/rosa/operator/inputs.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

using kernels::HostBlock;
using kernels::ProxyArguments;
using kernels::ProxyKind;
using testing::expect_close;
using testing::make_input;
using testing::Sizes;

void forward_on_host(ProxyKind kind, const ProxyArguments& p) {
  kernels::launch_on_host(kernels::proxy_forward_blocks(kind, p), false, [&](HostBlock& block) {
    kernels::Tile<float> scores;
    kernels::Tile<double> runs;
    if (kind == ProxyKind::sufa) kernels::sufa_forward_block<64>(block, p, scores);
    if (kind == ProxyKind::soft_rosa) kernels::soft_rosa_forward_block<64>(block, p, runs);
    if (kind == ProxyKind::dense_surrogate) kernels::dense_surrogate_forward_block<64>(block, p, scores);
  });
}

void backward_on_host(ProxyKind kind, const ProxyArguments& p) {
  kernels::launch_on_host(kernels::proxy_backward_blocks(kind, p), false, [&](HostBlock& block) {
    kernels::Tile<float> grad_products, weights;
    if (kind == ProxyKind::sufa) kernels::sufa_backward_block(block, p, grad_products, weights);
    if (kind == ProxyKind::soft_rosa) kernels::soft_rosa_backward_block(block, p, grad_products, weights);
    if (kind == ProxyKind::dense_surrogate) kernels::dense_surrogate_backward_block(block, p, grad_products, weights);
  });
}

const ProxyLauncher kHostLauncher{forward_on_host, backward_on_host};

void check(Proxy proxy, const OperatorInput& input, const OperatorOptions& options) {
  const at::Tensor upstream =
      at::randn({input.query.size(0), input.query.size(1), input.query.size(2), input.value.size(3)});
  OperatorOptions composed = options;
  composed.proxy_kernel = ProxyKernel::composed;
  OperatorInput doubles = input;
  for (at::Tensor* tensor : {&doubles.query, &doubles.key, &doubles.value}) *tensor = tensor->to(at::kDouble);
  if (proxy != Proxy::dense_surrogate) {  // its kernel gives the carrier
    expect_close(device_fused_forward(proxy, input, options, kHostLauncher), proxy_forward(proxy, doubles, composed),
                 1e-5);
  }
  const auto expected = proxy_backward(proxy, doubles, composed, upstream, {true, true, true});
  const auto all = device_fused_backward(proxy, input, options, upstream, {true, true, true}, kHostLauncher);
  for (size_t i = 0; i < 3; ++i) {
    expect_close(all[i], expected[i], 1e-5);
    std::array<bool, 3> needed{};
    needed[i] = true;
    const auto some = device_fused_backward(proxy, input, options, upstream, needed, kHostLauncher);
    for (size_t k = 0; k < 3; ++k) EXPECT_EQ(some[k].defined(), k == i);
    expect_close(some[i], expected[i], 1e-5);
  }
}

TEST(FusedDevice, EqualsTheComposition) {
  at::manual_seed(1);
  for (const Proxy proxy : {Proxy::sufa, Proxy::soft_rosa, Proxy::dense_surrogate}) {
    for (const ProxyMask mask : {ProxyMask::causal, ProxyMask::sliding_window}) {
      for (const PositionBias bias : {PositionBias::none, PositionBias::exp, PositionBias::log}) {
        const bool packed = bias == PositionBias::none || (bias == PositionBias::log && mask == ProxyMask::causal);
        OperatorOptions options;
        options.proxy_mask = mask;
        options.sliding_window = 9;
        options.sufa_head_dim = 24;
        options.bits_tau = 0.7;
        options.attn_tau = 0.4;
        options.position_bias = bias;
        const Sizes sizes{2, 4, 2, 150, 4, 3};
        OperatorInput input = make_input("random", sizes);
        if (packed) input.documents = testing::documents_of(sizes.batch, {1, 17, 100, 32});
        check(proxy, input, options);
      }
    }
  }
}

TEST(FusedDevice, LowPrecisionGivesGradientsOfItsDtype) {
  at::manual_seed(2);
  OperatorInput input = make_input("random", {});
  for (at::Tensor* tensor : {&input.query, &input.key, &input.value}) *tensor = tensor->to(at::kBFloat16);
  const OperatorOptions options = [] {
    OperatorOptions result;
    result.sufa_head_dim = 8;
    return result;
  }();
  const at::Tensor output = device_fused_forward(Proxy::sufa, input, options, kHostLauncher);
  EXPECT_EQ(output.scalar_type(), at::kFloat);
  const auto gradients = device_fused_backward(Proxy::sufa, input, options, output, {true, true, true}, kHostLauncher);
  for (const at::Tensor& gradient : gradients) EXPECT_EQ(gradient.scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace rosa
