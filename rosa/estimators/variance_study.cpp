#include "rosa/estimators/variance_study.h"

#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "rosa/estimators/gate_problem.h"
#include "rosa/operator/one_bit_gate.h"

namespace rosa {
namespace {

using base::require;

// Numbers of their own, so that a study draws nothing that training draws.
base::RandomKey study_key(const GateStream& stream, uint64_t use) {
  return {stream.seed, stream.step, stream.first_sample, stream.layer ^ (use << 32), 0};
}

GateCall draw_call(const GateCall& call, int64_t draw) {
  constexpr uint64_t kUse = 0x76617269;
  base::RandomKey key = study_key(call.stream, kUse);
  key.position = static_cast<uint64_t>(draw);
  GateCall result = call;
  result.stream.seed = base::random_bits(key);
  return result;
}

// Gives an estimator's parameters back the gradients that they had.
class KeptGradients {
 public:
  explicit KeptGradients(GateEstimator& estimator) {
    for (const auto& [name, parameter] : estimator.parameters()) {
      kept_.emplace_back(parameter.grad(), parameter.grad().clone());
    }
  }
  ~KeptGradients() {
    const at::NoGradGuard no_grad;
    for (auto& [gradient, value] : kept_) gradient.copy_(value);
  }
  KeptGradients(const KeptGradients&) = delete;
  KeptGradients& operator=(const KeptGradients&) = delete;

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;
};

double squared_norm(const at::Tensor& tensor) { return tensor.square().sum().item<double>(); }

double cosine_of(const at::Tensor& left, const at::Tensor& right) {
  const double norms = std::sqrt(squared_norm(left) * squared_norm(right));
  return norms > 0 ? (left * right).sum().item<double>() / norms : 0.0;
}

void enumerate_row(const GateChannel& channel, GateWorker& worker) {
  const auto length = static_cast<int64_t>(channel.x.size());
  const std::span<uint8_t> bits = worker.bits(0, length);
  const std::span<double> rewards = worker.numbers(0, length);
  worker.begin(channel);
  for (uint64_t string = 0; string < uint64_t{1} << length; ++string) {
    double probability = 1;
    for (int64_t t = 0; t < length; ++t) {
      bits[t] = string >> t & 1;
      probability *= bits[t] != 0 ? channel.probability[t] : 1 - channel.probability[t];
    }
    worker.evaluate(bits, rewards);
    double reward = 0;
    for (double value : rewards) reward += value;
    for (int64_t t = 0; t < length; ++t) {
      channel.gradient[t] += probability * reward * (bits[t] - channel.probability[t]);
    }
  }
}

}  // namespace

at::Tensor enumerated_gradient(const GateCall& call, double temperature, HostExecutor& executor) {
  const GateProblem problem(call, temperature);
  require(problem.length() <= kMaxEnumeratedLength, "enumerated_gradient: got length ", problem.length(),
          ", expected at most ", kMaxEnumeratedLength, " (longer ones: mean_gradient)");
  GateWorkers workers;
  workers.for_each_row(problem.num_rows(), executor,
                       [&](GateWorker& worker, int64_t row) { enumerate_row(problem.channel(row), worker); });
  return problem.collect_doubles(1 / temperature);
}

at::Tensor mean_gradient(GateEstimator& estimator, const GateCall& call, int64_t num_draws, HostExecutor& executor) {
  require(num_draws >= 1, "mean_gradient: got ", num_draws, " draws, expected at least 1");
  const KeptGradients kept(estimator);
  at::Tensor sum = at::zeros(call.x.sizes(), at::kDouble);
  for (int64_t draw = 0; draw < num_draws; ++draw) {
    // From the far end, so that a reference shares no draw with a study that is compared with it.
    sum += estimator.gradient(draw_call(call, -1 - draw), executor).to(at::kCPU, at::kDouble);
  }
  return sum / static_cast<double>(num_draws);
}

GradientStudy study_gradient(GateEstimator& estimator, const GateCall& call, const at::Tensor& reference,
                             int64_t num_draws, HostExecutor& executor) {
  require(num_draws >= 2, "study_gradient: got ", num_draws, " draws, expected at least 2");
  require(reference.sizes() == call.x.sizes(), "study_gradient: the reference has shape ", reference.sizes(),
          ", expected that of x, ", call.x.sizes());
  const at::NoGradGuard no_grad;
  const KeptGradients kept(estimator);
  const at::Tensor target = reference.to(at::kCPU, at::kDouble);
  at::Tensor mean = at::zeros_like(target), squares = at::zeros_like(target);
  GradientStudy study;
  std::chrono::steady_clock::duration time{};
  for (int64_t draw = 0; draw < num_draws; ++draw) {
    const GateCall drawn = draw_call(call, draw);
    const auto begin = std::chrono::steady_clock::now();
    const at::Tensor gradient = estimator.gradient(drawn, executor);
    time += std::chrono::steady_clock::now() - begin;
    const at::Tensor estimate = gradient.to(at::kCPU, at::kDouble);
    study.cosine += cosine_of(estimate, target) / static_cast<double>(num_draws);
    const at::Tensor difference = estimate - mean;  // Welford's
    mean += difference / static_cast<double>(draw + 1);
    squares += difference * (estimate - mean);
  }
  const at::Tensor variances = squares / static_cast<double>(num_draws - 1);
  study.num_draws = num_draws;
  study.evaluations = estimator.evaluations();
  study.seconds = std::chrono::duration<double>(time).count() / static_cast<double>(num_draws);
  study.squared_norm = squared_norm(target);
  study.variance = variances.sum().item<double>();
  study.bias = squared_norm(mean - target) - study.variance / static_cast<double>(num_draws);
  study.mean = mean;
  study.standard_error = (variances / static_cast<double>(num_draws)).sqrt();
  return study;
}

LinearisationStudy study_linearisation(const GateCall& call, int64_t num_flips,
                                       const std::function<double(const at::Tensor& output)>& loss,
                                       HostExecutor& executor) {
  require(num_flips >= 2, "study_linearisation: got ", num_flips, " flips, expected at least 2");
  const at::NoGradGuard no_grad;
  const GateProblem problem(call, 1);
  GateWorkers workers;
  workers.for_each_row(problem.num_rows(), executor, [&](GateWorker& worker, int64_t row) {
    const GateChannel channel = problem.channel(row);
    worker.begin(channel);
    worker.flip_effects(worker.hard_bits(channel, 0), channel.gradient);
  });
  const at::Tensor effects = problem.collect_doubles(1);
  const at::Tensor x = call.x.detach();
  const double before = loss(one_bit_gate(x, call.emb0, call.emb1, executor).output);
  constexpr uint64_t kUse = 0x6c696e65;
  base::RandomStream random(study_key(call.stream, kUse));
  LinearisationStudy study;
  study.predicted = at::zeros({num_flips}, at::kDouble);
  study.actual = at::zeros({num_flips}, at::kDouble);
  for (int64_t flip = 0; flip < num_flips; ++flip) {
    const auto position = static_cast<int64_t>(random.below(x.numel()));
    at::Tensor flipped = x.contiguous().clone();
    const bool was_set = flipped.view({-1})[position].item<double>() > 0;
    flipped.view({-1})[position] = was_set ? -1.0 : 1.0;
    study.predicted[flip] = (was_set ? -1.0 : 1.0) * effects.view({-1})[position].item<double>();
    study.actual[flip] = loss(one_bit_gate(flipped, call.emb0, call.emb1, executor).output) - before;
  }
  study.correlation = cosine_of(study.predicted - study.predicted.mean(), study.actual - study.actual.mean());
  return study;
}

}  // namespace rosa
