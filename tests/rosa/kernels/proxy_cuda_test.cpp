// The CUDA kernels of the proxies against the definition; skipped where there is no GPU.
#include <gtest/gtest.h>

#include "rosa/kernels/proxy_device.h"
#include "tests/rosa/kernels/device_array.h"
#include "tests/rosa/kernels/packed_proxy.h"

namespace rosa::kernels {
namespace {

using testing::DeviceArray;
using testing::expect_near;

class ProxyOnDevice : public testing::DeviceTest {
 protected:
  static void check(ProxyKind kind, const testing::PackedCase& c) {
    SCOPED_TRACE(c.sizes.text() + ", documents " + std::to_string(c.documents.size()));
    const testing::PackedArrays arrays = make_packed(kind, c);
    ProxyArguments p = testing::make_arguments(kind, c);
    const auto rows = static_cast<size_t>(c.num_rows * p.num_heads * p.length);
    const auto zeros = [](size_t count) { return std::vector<float>(count); };
    const DeviceArray<float> query(arrays.query), key(arrays.key), value(arrays.value), upstream(arrays.grad_output);
    const DeviceArray<float> output(zeros(arrays.output.size())), bias(arrays.bias);
    const DeviceArray<float> grad_query(zeros(arrays.query.size())), grad_key(zeros(arrays.key.size()));
    const DeviceArray<float> grad_value(zeros(arrays.value.size()));
    const DeviceArray<float> confidences(zeros(rows)), grad_best_runs(zeros(rows));
    const DeviceArray<double> log_totals(std::vector<double>(rows, 0)), means(std::vector<double>(rows, 0));
    const DeviceArray<int32_t> best_distances(std::vector<int32_t>(rows, 0));
    const DeviceArray<Segment> segments(arrays.segments);
    const DeviceArray<std::byte> workspace(
        std::vector<std::byte>(static_cast<size_t>(proxy_workspace_bytes(kind, p)), std::byte{255}));
    p.bias = bias.data(), p.segments = segments.data(), p.workspace = workspace.data();
    p.query = query.data(), p.key = key.data(), p.value = value.data();
    p.output = output.data(), p.grad_output = upstream.data();
    p.grad_query = grad_query.data(), p.grad_key = grad_key.data(), p.grad_value = grad_value.data();
    p.log_totals = log_totals.data(), p.means = means.data(), p.confidences = confidences.data();
    p.grad_best_runs = grad_best_runs.data(), p.best_distances = best_distances.data();
    proxy_forward_on_device(kind, p, nullptr);
    proxy_backward_on_device(kind, p, nullptr);
    const double scale = kind == ProxyKind::sufa ? c.sizes.scale
                         : c.sizes.input == "constant"
                             ? 1 + static_cast<double>(total_length(c)) / 32  // see soft_rosa_test.cpp
                             : 1 / c.sizes.attn_tau;
    expect_near(output.to_host(), arrays.output, 1e-3, "output");
    expect_near(grad_query.to_host(), arrays.grad_query, 0.2 * scale, "grad_query");
    expect_near(grad_key.to_host(), arrays.grad_key, 0.2 * scale, "grad_key");
    expect_near(grad_value.to_host(), arrays.grad_value, 1e-3, "grad_value");
  }
};

TEST_F(ProxyOnDevice, SufaEqualsTheDefinition) {
  for (const testing::PackedCase& c : testing::packed_cases(ProxyKind::sufa)) check(ProxyKind::sufa, c);
}

TEST_F(ProxyOnDevice, SoftRosaEqualsTheDefinition) {
  for (const testing::PackedCase& c : testing::packed_cases(ProxyKind::soft_rosa)) check(ProxyKind::soft_rosa, c);
}

TEST_F(ProxyOnDevice, DenseSurrogateEqualsTheDefinition) {
  for (const testing::PackedCase& c : testing::packed_cases(ProxyKind::dense_surrogate)) {
    check(ProxyKind::dense_surrogate, c);
  }
}

// More blocks than fit the device at once, and long sums.
TEST_F(ProxyOnDevice, ManyHeadsAndALongSequence) {
  for (const ProxyKind kind : {ProxyKind::sufa, ProxyKind::soft_rosa, ProxyKind::dense_surrogate}) {
    testing::PackedCase c = testing::packed_cases(kind)[0];
    c.num_rows = 40, c.num_groups = 32, c.documents = {17};
    check(kind, c);
    c.num_rows = 1, c.num_groups = 1, c.documents = {1500};
    check(kind, c);
  }
}

}  // namespace
}  // namespace rosa::kernels
