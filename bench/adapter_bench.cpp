// The adapters' share of a training step: forward and backward of the student at the demo's size with adapters, beside
// the same student without (its last layer's input needs a gradient, so that the backward goes through all layers).
// Counters: "share", of the step's wall time; "wait", the share of it in which the compute thread waited for automata.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <chrono>

#include "models/adapter.h"
#include "models/causal_model.h"

namespace rosa::models {
namespace {

using Seconds = std::chrono::duration<double>;

struct Student {
  explicit Student(const AdapterConfig& config) : adapters(config, model.config(), 2) {
    options.sliding_window = 32;
    options.executor = &executor;
    options.operator_options.training = true;
  }

  // Seconds of one forward and backward.
  double step(const at::Tensor& input_ids, const at::Tensor& gradient, bool with_adapters) {
    options.adapters = with_adapters ? &adapters : nullptr;
    const auto start = std::chrono::steady_clock::now();
    model.hidden_states(input_ids, options).backward(gradient);
    return Seconds(std::chrono::steady_clock::now() - start).count();
  }

  CausalModel model = CausalModel::random({}, 1);
  AdapterSet adapters;
  HostExecutor executor{1};
  ForwardOptions options;
};

AdapterConfig fixed_hashes() {
  AdapterConfig config = plain_adapter_config();
  config.query_key_gradient = false;
  config.exact_value_gradient = true;
  return config;
}

AdapterConfig soft_rosa() {
  AdapterConfig config = plain_adapter_config();
  config.estimator = "soft_rosa";
  return config;
}

void training_step(benchmark::State& state, const AdapterConfig& config, double alpha) {
  constexpr int64_t kBatch = 4;
  const int64_t length = state.range(0);
  Student student(config);
  student.options.operator_options.alpha = alpha;
  student.model.parameters().at("model.embed_tokens.weight").requires_grad_(true);
  const at::Tensor input_ids = at::randint(0, student.model.config().vocab_size, {kBatch, length}, at::kLong);
  const at::Tensor gradient = at::randn({kBatch, length, student.model.config().hidden_size});
  const double waited_before_ms = student.executor.waited_ms();
  double with = 0, without = 0;
  for (auto _ : state) {
    const double seconds = student.step(input_ids, gradient, /*with_adapters=*/true);
    state.SetIterationTime(seconds);
    with += seconds;
    without += student.step(input_ids, gradient, /*with_adapters=*/false);
  }
  state.counters["share"] = 1 - without / with;
  state.counters["wait"] = (student.executor.waited_ms() - waited_before_ms) / 1000 / with;
}

#define ROSA_STEP(name, config, alpha)                  \
  BENCHMARK_CAPTURE(training_step, name, config, alpha) \
      ->ArgName("T")                                    \
      ->Arg(256)                                        \
      ->Arg(1024)                                       \
      ->UseManualTime()                                 \
      ->Unit(benchmark::kMillisecond)
ROSA_STEP(sufa, plain_adapter_config(), 1.0);
ROSA_STEP(sufa_blended, plain_adapter_config(), 0.5);
ROSA_STEP(soft_rosa, soft_rosa(), 1.0);
ROSA_STEP(fixed_hashes, fixed_hashes(), 1.0);
#undef ROSA_STEP

}  // namespace
}  // namespace rosa::models

int main(int argc, char** argv) {
  ::setenv("MKL_CBWR", "AUTO,STRICT", 0);  // as the program does
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
