#include "training/experiment/gate_study.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/activity.h"
#include "base/error.h"
#include "rosa/estimators/variance_study.h"

namespace rosa::training {
namespace {

class Study {
 public:
  Study(const ExperimentConfig& config, GateTask& task, int64_t step, HostExecutor& executor)
      : config_(config), step_(step), executor_(executor), call_(task.gate_call(step, config.study.num_rows)) {
    GateEstimatorConfig unbiased = config.gate;
    unbiased.name = "leg";
    GateCall call = call_;
    call.stream.layer += 1;  // other draws than those it is compared with
    reference_ = mean_gradient(*make_gate_estimator(unbiased), call, config.study.reference_draws, executor_);
  }

  std::string arm(const ExperimentArm& arm) const {
    if (arm.estimator == "none") return "";
    std::string lines = line(arm, arm.label);
    if (arm.scope().empty()) return lines;
    for (const int64_t num_samples : config_.study.num_samples) {
      if (num_samples == arm.gate.num_samples) continue;
      ExperimentArm other = arm;
      other.gate.num_samples = num_samples;
      try {
        make_gate_estimator(other.gate);
      } catch (const base::ConfigError&) {
        continue;  // an estimator of two samples only
      }
      lines += line(other, base::concat(arm.label, " num_samples=", num_samples));
    }
    return lines;
  }

  std::string linearisation(GateTask& task) const {
    const auto loss = [&](const at::Tensor& output) {
      return task.loss_with_gate_output(step_, config_.study.num_rows, output);
    };
    const LinearisationStudy study = study_linearisation(call_, config_.study.num_flips, loss, executor_);
    const nlohmann::ordered_json json = {
        {"kind", "linearisation"}, {"step", step_}, {"correlation", study.correlation}};
    return json.dump() + "\n";
  }

 private:
  std::string line(const ExperimentArm& arm, const std::string& label) const {
    base::note_progress();
    const auto estimator = make_gate_estimator(arm.gate);
    learn(*estimator);
    const GradientStudy study = study_gradient(*estimator, call_, reference_, config_.study.num_draws, executor_);
    const nlohmann::ordered_json json = {{"kind", "variance"},
                                         {"step", step_},
                                         {"label", label},
                                         {"estimator", arm.estimator},
                                         {"scope", arm.scope()},
                                         {"num_samples", arm.num_samples()},
                                         {"evaluations", study.evaluations},
                                         {"microseconds", 1e6 * study.seconds},
                                         {"variance", study.relative_variance()},
                                         {"bias", std::sqrt(std::max(0.0, study.relative_bias()))},
                                         {"cosine", study.cosine}};
    return json.dump() + "\n";
  }

  void learn(GateEstimator& estimator) const {
    if (estimator.parameters().empty()) return;
    GateCall call = call_;
    call.stream.layer += 2;
    for (int64_t draw = 0; draw < config_.study.reference_draws; ++draw) {
      call.stream.step = static_cast<uint64_t>(draw);
      estimator.gradient(call, executor_);
      estimator.update(static_cast<double>(call.x.size(0)));
    }
  }

  const ExperimentConfig& config_;
  const int64_t step_;
  HostExecutor& executor_;
  const GateCall call_;
  at::Tensor reference_;
};

}  // namespace

std::string study_gradients(const ExperimentConfig& config, const std::vector<ExperimentArm>& arms, GateTask& task,
                            int64_t step, HostExecutor& executor) {
  const Study study(config, task, step, executor);
  std::string lines;
  for (const ExperimentArm& arm : arms) lines += study.arm(arm);
  if (config.study.num_flips > 0) lines += study.linearisation(task);
  return lines;
}

}  // namespace rosa::training
