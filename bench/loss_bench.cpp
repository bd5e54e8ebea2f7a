// The loss over the vocabulary, forward and backward to the hidden states: distillation_loss beside the same formula in
// one piece under autograd, as a textbook has it. bfloat16, hidden 1024, KL to a teacher; `ce` 1: half cross-entropy.
// added_mib: what the tensors held at most beyond the inputs.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include "tests/support/counted_memory.h"
#include "training/losses.h"

namespace rosa::training {
namespace {

constexpr int64_t kHidden = 1024;

struct Inputs {
  LossInput input;
  LossConfig config;
  double tokens = 0.0;

  explicit Inputs(const benchmark::State& state) {
    const int64_t vocabulary_size = state.range(0), length = state.range(1);
    const auto random = [](at::IntArrayRef sizes) { return at::randn(sizes).mul_(0.05).to(at::kBFloat16); };
    at::manual_seed(1);
    input.student_hidden = random({1, length, kHidden}).set_requires_grad(true);
    input.student_lm_head = random({vocabulary_size, kHidden});
    input.teacher_hidden = random({1, length, kHidden});
    input.teacher_lm_head = input.student_lm_head;
    input.labels = at::randint(0, vocabulary_size, {1, length});
    config.distill_alpha = state.range(2) != 0 ? 0.5 : 1.0;
    tokens = static_cast<double>(length);
  }
};

at::Tensor textbook(const Inputs& inputs) {
  const LossInput& input = inputs.input;
  const at::Tensor student = at::matmul(input.student_hidden[0], input.student_lm_head.t()).to(at::kFloat);
  at::Tensor target;
  {
    const at::NoGradGuard no_gradient;
    target = at::matmul(input.teacher_hidden[0], input.teacher_lm_head.t()).to(at::kFloat).log_softmax(1);
  }
  const at::Tensor log_q = student.log_softmax(1);
  const at::Tensor kl = at::kl_div(log_q, target, at::Reduction::Sum, /*log_target=*/true) / inputs.tokens;
  if (inputs.config.distill_alpha == 1.0) return kl;
  const int64_t count = log_q.size(0) - 1;
  const at::Tensor ce = at::nll_loss(log_q.narrow(0, 0, count), input.labels[0].narrow(0, 1, count));
  return 0.5 * (kl + ce);
}

template <class LossOf>
void measure(benchmark::State& state, const LossOf& loss_of) {
  Inputs inputs(state);
  int64_t added = 0;
  for (auto _ : state) {
    const testing::CountedMemory memory;
    loss_of(inputs).backward();
    added = memory.peak_bytes();
    inputs.input.student_hidden.mutable_grad() = at::Tensor();
  }
  state.counters["added_mib"] = static_cast<double>(added) / (1 << 20);
}

void ours(benchmark::State& state) {
  measure(state, [](const Inputs& inputs) {
    return distillation_loss(inputs.input, inputs.config, inputs.tokens, inputs.tokens - 1).value;
  });
}

void textbook_loss(benchmark::State& state) { measure(state, textbook); }

// What no loss can do without: the three products.
void products(benchmark::State& state) {
  const Inputs inputs(state);
  const at::NoGradGuard no_gradient;
  const at::Tensor hidden = inputs.input.student_hidden[0], lm_head = inputs.input.student_lm_head;
  for (auto _ : state) {
    const at::Tensor logits = at::matmul(hidden, lm_head.t());
    benchmark::DoNotOptimize(at::matmul(inputs.input.teacher_hidden[0], lm_head.t()));
    benchmark::DoNotOptimize(at::matmul(logits, lm_head));
  }
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"V", "T", "ce"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const int64_t vocabulary_size : {32000, 151936}) {
    for (const int64_t ce : {0, 1}) bench->Args({vocabulary_size, 1024, ce});
  }
}
BENCHMARK(ours)->Apply(sizes);
BENCHMARK(textbook_loss)->Apply(sizes);
BENCHMARK(products)
    ->ArgNames({"V", "T", "ce"})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Args({32000, 1024, 0})
    ->Args({151936, 1024, 0});

}  // namespace
}  // namespace rosa::training

BENCHMARK_MAIN();
