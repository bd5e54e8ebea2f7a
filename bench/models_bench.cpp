// Forwards and backwards of teacher and student at the demo's size: the shipped kind of model (hidden 64, 2 layers),
// 4 sequences of 256 tokens, window 32, one thread. Beside the blocked window attention: one masked [T,T].
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include "models/adapter.h"
#include "models/attention.h"
#include "models/causal_model.h"

namespace rosa::models {
namespace {

constexpr int64_t kBatch = 4;
constexpr int64_t kWindow = 32;

struct Demo {
  CausalModel model = CausalModel::random({}, 1);
  AdapterSet adapters{{}, model.config(), 2};
  HostExecutor executor{1};
  ForwardOptions student;

  Demo() {
    student.sliding_window = kWindow;
    student.adapters = &adapters;
    student.executor = &executor;
    student.operator_options.training = true;
  }
};

at::Tensor ids(int64_t length) { return at::randint(0, 128, {kBatch, length}, at::kLong); }

void teacher(benchmark::State& state) {
  const Demo demo;
  const at::Tensor input_ids = ids(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(demo.model.teacher_hidden_states(input_ids));
}
BENCHMARK(teacher)->Arg(256)->Arg(1024)->Unit(benchmark::kMillisecond);

void student(benchmark::State& state) {
  Demo demo;
  using models::ActivationCheckpointing;
  demo.student.activation_checkpointing =
      state.range(1) != 0 ? ActivationCheckpointing::full : ActivationCheckpointing::none;
  const at::Tensor input_ids = ids(state.range(0));
  const at::Tensor gradient = at::randn({kBatch, state.range(0), demo.model.config().hidden_size});
  for (auto _ : state) demo.model.hidden_states(input_ids, demo.student).backward(gradient);
}
BENCHMARK(student)
    ->ArgNames({"T", "checkpointing"})
    ->Args({256, 0})
    ->Args({256, 1})
    ->Args({1024, 0})
    ->Unit(benchmark::kMillisecond);

// blocked 0: the mask of the whole [T,T].
void window_attention(benchmark::State& state) {
  const int64_t length = state.range(0);
  const at::Tensor query = at::randn({kBatch, length, 4, 16}).requires_grad_(true);
  const at::Tensor key = at::randn({kBatch, length, 2, 16}).requires_grad_(true);
  const at::Tensor value = at::randn({kBatch, length, 2, 16}).requires_grad_(true);
  const at::Tensor gradient = at::randn({kBatch, length, 64});
  const CausalAttention blocked(kBatch, length, {.window = kWindow}, {}, query);
  const at::Tensor distance = at::arange(length).unsqueeze(1) - at::arange(length).unsqueeze(0);
  const at::Tensor mask =
      at::zeros({length, length})
          .masked_fill(distance.lt(0).logical_or(distance.ge(kWindow)), -std::numeric_limits<double>::infinity());
  for (auto _ : state) {
    if (state.range(1) != 0) {
      blocked(query, key, value).backward(gradient);
    } else {
      at::scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask, 0.0,
                                       false, std::nullopt, true)
          .transpose(1, 2)
          .reshape_as(gradient)
          .backward(gradient);
    }
  }
}
BENCHMARK(window_attention)
    ->ArgNames({"T", "blocked"})
    ->ArgsProduct({{128, 256, 512, 2048}, {0, 1}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace rosa::models

int main(int argc, char** argv) {
  ::setenv("MKL_CBWR", "AUTO,STRICT", 0);  // as the program does
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
