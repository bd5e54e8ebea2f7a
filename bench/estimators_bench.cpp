// What the gate's estimators cost and how much their estimates vary, as tables in markdown.
//   estimators_bench cost [T [B [C [only]]]]  CPU time of a call against its forwards, one thread
//   estimators_bench variance [T [C]]      variance, bias and cosine against a reference, at three scales of logits
//   estimators_bench rodeo [T [C [updates [only]]]]  rodeo, trained on fresh samples, against disarm
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "rosa/automaton/matcher.h"
#include "rosa/estimators/variance_study.h"
#include "rosa/operator/one_bit_gate.h"

namespace rosa {
namespace {

constexpr double kTemperature = 0.2;

at::Tensor normal_tensor(at::IntArrayRef shape, uint64_t seed, uint64_t use, double scale) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  base::RandomStream random({seed, use, 0, 0, 0});
  auto* values = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(scale * random.normal());
  return tensor;
}

// Normal logits of `scale` temperatures, normal gradients, the embeddings that gates start with.
GateCall make_call(int64_t batch, int64_t length, int64_t channels, double scale, uint64_t seed,
                   HostExecutor& executor) {
  GateCall call;
  call.x = normal_tensor({batch, length, channels}, seed, 0, kTemperature * scale);
  call.grad_output = normal_tensor({batch, length, channels}, seed, 1, 1);
  call.emb0 = at::full({channels}, -1e-5);
  call.emb1 = at::full({channels}, 1e-5);
  call.index = one_bit_gate(call.x, call.emb0, call.emb1, executor).index;
  call.stream.seed = seed;
  return call;
}

struct Candidate {
  std::string title;
  GateEstimatorConfig config;
};

Candidate candidate(const std::string& name, RewardScope scope, int64_t num_samples, const std::string& title) {
  Candidate result{title, {}};
  result.config.name = name;
  result.config.scope = scope;
  result.config.num_samples = num_samples;
  return result;
}

std::vector<std::pair<RewardScope, const char*>> scopes() {
  return {{RewardScope::joint, "joint"}, {RewardScope::channel, "channel"}, {RewardScope::causal, "causal"}};
}

std::vector<Candidate> candidates() {
  std::vector<Candidate> result;
  for (const char* name : {"flip", "flip_mode"}) result.push_back(candidate(name, RewardScope::causal, 2, name));
  result.push_back(candidate("leg", RewardScope::causal, 1, "leg 1"));
  result.back().config.antithetic = false;
  result.push_back(candidate("leg", RewardScope::causal, 2, "leg 2 antithetic"));
  for (const auto& [scope, title] :
       {std::pair{RewardScope::joint, "joint"}, {RewardScope::channel, "channel"}, {RewardScope::causal, "causal"}}) {
    if (scope == RewardScope::joint) {
      result.push_back(candidate("disarm", scope, 2, "disarm 2 joint, fastrosa"));
      result.back().config.compatible = "fastrosa";
    }
    for (const auto& [name, num_samples] :
         {std::pair{"disarm", 2}, {"disarm", 10}, {"rloo", 4}, {"arms", 4}, {"rodeo", 2}, {"double_cv", 2}}) {
      result.push_back(
          candidate(name, scope, num_samples, std::string(name) + " " + std::to_string(num_samples) + " " + title));
    }
  }
  return result;
}

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Median CPU time of a run, over all threads of the process.
template <class Body>
double measure(const Body& body) {
  std::vector<double> times;
  body();
  for (int run = 0; run < 9; ++run) {
    const double begin = cpu_seconds();
    body();
    times.push_back(cpu_seconds() - begin);
  }
  std::ranges::nth_element(times, times.begin() + 4);
  return times[4];
}

// Matching alone, of strings drawn by the logits, as bytes.
double matching_seconds(const GateCall& call) {
  const int64_t length = call.x.size(1), num_rows = call.x.size(0) * call.x.size(2);
  std::vector<uint8_t> strings(num_rows * length);
  const at::Tensor probability = at::sigmoid(call.x / kTemperature).transpose(1, 2).contiguous();
  base::RandomStream random({1, 2, 3, 4, 5});
  for (size_t i = 0; i < strings.size(); ++i) strings[i] = random.uniform() < probability.const_data_ptr<float>()[i];
  automaton::Matcher matcher;
  std::vector<int32_t> positions(length);
  return measure([&] {
    for (int64_t row = 0; row < num_rows; ++row) {
      const std::span<const uint8_t> bits(strings.data() + row * length, length);
      matcher.match(bits, bits, std::span(positions), {});
    }
  });
}

// `only`: rows whose title contains it, here and below.
void print_costs(int64_t length, int64_t batch, int64_t channels, const std::string& only) {
  HostExecutor executor(1);
  at::set_num_threads(1);
  const GateCall call = make_call(batch, length, channels, 1, 1, executor);
  const double rows = static_cast<double>(batch * channels);
  const double forward = measure([&] { one_bit_gate(call.x, call.emb0, call.emb1, executor); });
  const double matching = matching_seconds(call);
  std::printf("%ld x %ld channels, T = %ld; a forward of the gate %.2f us a channel, its matching alone %.2f us\n\n",
              batch, channels, length, 1e6 * forward / rows, 1e6 * matching / rows);
  std::printf(
      "| estimator | us a channel | forwards it draws | times their sum | times their matching |\n"
      "|---|---|---|---|---|\n");
  for (const Candidate& candidate : candidates()) {
    if (candidate.title.find(only) == std::string::npos) continue;
    const auto estimator = make_gate_estimator(candidate.config);
    const double time = measure([&] { estimator->gradient(call, executor); });
    const bool samples = candidate.config.name != "flip" && candidate.config.name != "flip_mode" &&
                         candidate.config.name != "leg" && candidate.config.name != "double_cv";
    const double drawn = samples ? static_cast<double>(candidate.config.num_samples) : 1;
    std::printf("| %s | %.2f | %s | %.2f | %.2f |\n", candidate.title.c_str(), 1e6 * time / rows,
                samples ? std::to_string(candidate.config.num_samples).c_str() : "(of one forward)",
                time / (drawn * forward), time / (drawn * matching));
  }
}

void print_variances(int64_t length, int64_t channels) {
  HostExecutor executor(2);
  for (double scale : {0.5, 2.0, 5.0}) {
    const GateCall call = make_call(8, length, channels, scale, 7, executor);
    const auto leg = make_gate_estimator(candidate("leg", RewardScope::causal, 2, "").config);
    const at::Tensor reference =
        length <= 14 ? enumerated_gradient(call, kTemperature, executor) : mean_gradient(*leg, call, 4000, executor);
    std::printf(
        "T = %ld, C = %ld, logits of scale %.1f\n\n| estimator | variance / squared norm | bias | cosine |\n"
        "|---|---|---|---|\n",
        length, channels, scale);
    for (const Candidate& candidate : candidates()) {
      const auto estimator = make_gate_estimator(candidate.config);
      const GradientStudy study = study_gradient(*estimator, call, reference, 400, executor);
      std::printf("| %s | %.3g | %.3g | %.3f |\n", candidate.title.c_str(), study.relative_variance(),
                  study.relative_bias(), study.cosine);
    }
    std::printf("\n");
  }
}

// Trains rodeo on fresh calls, then compares second moments on others, less the squared gradient (the mean product of
// two leg estimates of independent strings), which gives variance / squared norm.
void print_rodeo_row(int64_t length, int64_t channels, int64_t num_updates, double scale,
                     const Candidate& rodeo_candidate, HostExecutor& executor) {
  constexpr int64_t kBatch = 32, kCalls = 300;
  const RewardScope scope = rodeo_candidate.config.scope;
  const auto rodeo = make_gate_estimator(rodeo_candidate.config);
  const auto disarm = make_gate_estimator(candidate("disarm", scope, 2, "").config);
  const auto rloo = make_gate_estimator(candidate("rloo", scope, 2, "").config);
  const auto leg = make_gate_estimator(candidate("leg", scope, 2, "").config);
  for (int64_t step = 0; step < num_updates; ++step) {
    rodeo->gradient(make_call(kBatch, length, channels, scale, 1000 + step, executor), executor);
    rodeo->update(kBatch);
  }
  double of_rodeo = 0, of_disarm = 0, of_rloo = 0, squared_gradient = 0;
  for (int64_t step = 0; step < kCalls; ++step) {
    GateCall call = make_call(kBatch, length, channels, scale, 1000000 + step, executor);
    const auto square = [&](GateEstimator& estimator) {
      return estimator.gradient(call, executor).square().sum().item<double>();
    };
    of_rodeo += square(*rodeo);
    of_disarm += square(*disarm);
    of_rloo += square(*rloo);
    const at::Tensor first = leg->gradient(call, executor);
    call.stream.step += 1;
    squared_gradient += (first * leg->gradient(call, executor)).sum().item<double>();
  }
  const auto relative = [&](double moment) { return moment / squared_gradient - 1; };
  std::printf("| %.1f | %s | %.1f | %.1f | %.1f | %.2f |\n", scale, rodeo_candidate.title.c_str(), relative(of_disarm),
              relative(of_rloo), relative(of_rodeo), relative(of_disarm) / relative(of_rodeo));
  std::fflush(stdout);
}

void print_rodeo(int64_t length, int64_t channels, int64_t num_updates, const std::string& only) {
  HostExecutor executor(2);
  std::printf(
      "T = %ld, C = %ld, %ld updates\n\n| scale | scope, slopes, operator | disarm 2 | rloo 2 | rodeo 2 | ratio to "
      "disarm |\n"
      "|---|---|---|---|---|---|\n",
      length, channels, num_updates);
  for (double scale : {0.5, 2.0, 5.0}) {
    for (const auto& [scope, scope_name] : scopes()) {
      for (const auto& [slopes, slopes_name] :
           {std::pair{RodeoSlopes::none, "none"}, {RodeoSlopes::routes, "routes"}, {RodeoSlopes::flips, "flips"}}) {
        for (const auto& [stein, stein_name] :
             {std::pair{SteinOperator::barker, "barker"}, {SteinOperator::mpf, "mpf"}}) {
          Candidate rodeo = candidate("rodeo", scope, 2, base::concat(scope_name, ", ", slopes_name, ", ", stein_name));
          rodeo.config.rodeo.slopes = slopes;
          rodeo.config.rodeo.stein_operator = stein;
          if (rodeo.title.find(only) == std::string::npos) continue;
          print_rodeo_row(length, channels, num_updates, scale, rodeo, executor);
        }
      }
    }
  }
}

}  // namespace
}  // namespace rosa

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "cost";
  const auto number = [&](int position, int64_t otherwise) {
    return argc > position ? std::atoll(argv[position]) : otherwise;
  };
  if (what == "cost") rosa::print_costs(number(2, 128), number(3, 32), number(4, 8), argc > 5 ? argv[5] : "");
  if (what == "variance") rosa::print_variances(number(2, 32), number(3, 4));
  if (what == "rodeo") rosa::print_rodeo(number(2, 32), number(3, 4), number(4, 1000), argc > 5 ? argv[5] : "");
  return 0;
}
