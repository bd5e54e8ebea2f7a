// The proxies forward and as a step (forward and backward): fused kernels against LibTorch, in one process and thread.
// One sequence, 16 heads, 8 bits. LibTorch's side of SUFA is at::scaled_dot_product_attention on rows that are widened
// beforehand (128 columns; the values 8 columns as they are, or padded to the width that its CPU kernel takes); of soft
// ROSA and the dense surrogate compositions of gather and of cumsum and cummax, or of products. peak_MiB: how far one
// pass rises above the memory held before.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>

#include "rosa/kernels/proxy_rows.h"
#include "rosa/operator/proxies.h"

namespace rosa::bench {
namespace {

constexpr int64_t kHeads = 16, kBits = 8;
constexpr std::array<bool, 3> kAll{true, true, true};

// A figure of /proc/self/status in MiB.
double memory_mib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(name + ":", 0) == 0) return std::stod(line.substr(name.size() + 1)) / 1024;
  }
  return 0;
}

// What one call of `body` adds to the process's memory at its highest point.
template <class Body>
double peak_mib(const Body& body) {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM starts again
  const double before = memory_mib("VmRSS");
  body();
  return memory_mib("VmHWM") - before;
}

OperatorInput make_input(int64_t length) {
  at::manual_seed(1);
  const auto logits = [&] { return at::randn({1, kHeads, length, kBits}); };
  return {logits(), logits(), logits(), {}, {}};
}

template <class Body>
void time_body(benchmark::State& state, const Body& body) {
  at::set_num_threads(1);
  body();  // warm-up
  for (auto _ : state) body();
  state.counters["peak_MiB"] = peak_mib(body);
}

void proxy(benchmark::State& state, Proxy kind, ProxyKernel kernel, int64_t length, bool backward) {
  const OperatorInput input = make_input(length);
  const at::Tensor upstream = at::randn({1, kHeads, length, kBits});
  OperatorOptions options;
  options.proxy_kernel = kernel;
  // The dense surrogate has no forward of its own: its step is the backward, which evaluates it.
  const bool forward = kind != Proxy::dense_surrogate;
  time_body(state, [&] {
    if (forward) benchmark::DoNotOptimize(proxy_forward(kind, input, options));
    if (backward) benchmark::DoNotOptimize(proxy_backward(kind, input, options, upstream, kAll));
  });
}

void widened_sdpa(benchmark::State& state, int64_t value_width, int64_t length, bool backward) {
  at::manual_seed(1);
  const auto rows = [&](int64_t width) { return at::randn({1, kHeads, length, width}).requires_grad_(backward); };
  const at::Tensor query = rows(128), key = rows(128), value = rows(value_width);
  const at::Tensor upstream = at::randn({1, kHeads, length, value_width});
  time_body(state, [&] {
    const at::Tensor output = at::scaled_dot_product_attention(query, key, value, {}, 0.0, true);
    benchmark::DoNotOptimize(output);
    if (backward) benchmark::DoNotOptimize(torch::autograd::grad({output}, {query, key, value}, {upstream}));
  });
}

void register_all() {
  const auto add = [](const std::string& name, int64_t length, bool backward, auto body) {
    const std::string title = name + (backward ? "/step/" : "/forward/") + std::to_string(length);
    benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) {
      body(state, length, backward);
    })->Unit(benchmark::kMillisecond);
  };
  const auto proxy_of = [](Proxy kind, ProxyKernel kernel) {
    return
        [=](benchmark::State& state, int64_t length, bool backward) { proxy(state, kind, kernel, length, backward); };
  };
  for (const int64_t length : {256, 1024, 4096}) {
    for (const bool backward : {false, true}) {
      add("sufa/fused", length, backward, proxy_of(Proxy::sufa, ProxyKernel::fused));
      for (const int64_t width : {8, 128}) {
        add("sufa/sdpa_value" + std::to_string(width), length, backward,
            [=](benchmark::State& state, int64_t size, bool both) { widened_sdpa(state, width, size, both); });
      }
      add("sufa/proxy_kernel_sdpa", length, backward, proxy_of(Proxy::sufa, ProxyKernel::sdpa));
      add("soft_rosa/fused", length, backward, proxy_of(Proxy::soft_rosa, ProxyKernel::fused));
      if (backward)
        add("dense_surrogate/fused", length, backward, proxy_of(Proxy::dense_surrogate, ProxyKernel::fused));
      if (length > 1024) continue;  // the composition: minutes a pass
      add("soft_rosa/composed", length, backward, proxy_of(Proxy::soft_rosa, ProxyKernel::composed));
      if (!backward) continue;
      add("dense_surrogate/composed", length, backward, proxy_of(Proxy::dense_surrogate, ProxyKernel::composed));
    }
  }
  std::fprintf(stderr, "instruction set: %s; skipped: the composed forms at 4096 (minutes a pass)\n",
               kernels::proxy_instruction_set());
}

}  // namespace
}  // namespace rosa::bench

int main(int argc, char** argv) {
  rosa::bench::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
