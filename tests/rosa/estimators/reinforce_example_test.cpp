// The example of docs/estimators.md ("Adding one"), as it stands there: it compiles and is unbiased.
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "base/file.h"
#include "rosa/estimators/gate_problem.h"
#include "tests/rosa/estimators/gate_cases.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

// clang-format off
class ReinforceEstimator final : public GateEstimator {
 public:
  explicit ReinforceEstimator(double temperature) : temperature_(temperature) {}
  double evaluations() const override { return 1; }
  at::Tensor gradient(const GateCall& call, HostExecutor& executor) override {
    const GateProblem problem(call, temperature_);                       // checks shapes; rows are channels of sequences
    workers_.for_each_row(problem.num_rows(), executor, [&](GateWorker& worker, int64_t row) {
      const GateChannel channel = problem.channel(row);
      const auto uniforms = worker.numbers(0, problem.length()), rewards = worker.numbers(1, problem.length());
      const auto bits = worker.bits(0, problem.length());
      problem.uniforms(channel, /*draw=*/0, uniforms);                   // of this row alone, whatever the threads
      for (int64_t t = 0; t < problem.length(); ++t) bits[t] = uniforms[t] < channel.probability[t];
      worker.begin(channel);
      worker.evaluate(bits, rewards);                                    // gy_t out_t(bits)
      const double reward = std::accumulate(rewards.begin(), rewards.end(), 0.0);
      for (int64_t t = 0; t < problem.length(); ++t) {
        channel.gradient[t] = reward * (bits[t] - channel.probability[t]);
      }
    });
    return problem.collect(1 / temperature_);                            // d eta / d x
  }

 private:
  double temperature_;
  GateWorkers workers_;
};
// clang-format on

// What stands between two marks, the first of which belongs to it.
std::string between(const std::string& text, const std::string& first, const std::string& last) {
  const size_t begin = text.find(first), end = text.find(last, begin);
  return begin == std::string::npos || end == std::string::npos ? "" : text.substr(begin, end - begin);
}

TEST(ReinforceExample, StandsInTheDocumentation) {
  const auto example_in = [](const std::string& path) {
    return between(base::read_file(path, 1 << 20), "class ReinforceEstimator", "\n};\n");
  };
  const std::string here = example_in(ROSA_SOURCE_DIR "/tests/rosa/estimators/reinforce_example_test.cpp");
  EXPECT_GT(here.size(), 1000);
  EXPECT_EQ(example_in(ROSA_SOURCE_DIR "/docs/estimators.md"), here);
}

TEST(ReinforceExample, IsUnbiased) {
  constexpr double kTemperature = 0.2;
  HostExecutor executor(2);
  ReinforceEstimator estimator(kTemperature);
  const GateCall call = testing::make_call(1, 8, 1, 1.5, executor, 17);
  const at::Tensor expected = testing::expected_gradient(
      estimator, call, kTemperature, [](double p) { return testing::independent_cells(p, 1); }, executor);
  testing::expect_close(expected, testing::oracle_gradient(call, kTemperature), 1e-9, "the example");
}

}  // namespace
}  // namespace rosa
