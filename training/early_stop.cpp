#include "training/early_stop.h"

#include <cmath>
#include <variant>

#include "base/error.h"

namespace rosa::training {

void EarlyStop::note(const EvaluationMetrics& evaluation) {
  double value = evaluation.ce;
  if (!config_.figure.empty()) {
    const auto found = evaluation.suite.find(config_.figure);
    if (found == evaluation.suite.end()) return;
    value = found->second;
  }
  const double sign = more_is_better(config_.figure) ? -1.0 : 1.0;
  const bool is_better = std::isfinite(value) && (!best_ || sign * value < sign * *best_ - config_.min_delta);
  if (!is_better) {
    ++num_worse_;
    return;
  }
  best_ = value;
  best_step_ = evaluation.step;
  num_worse_ = 0;
}

std::string EarlyStop::reason() const {
  const std::string best =
      best_ ? base::concat("the best was ", *best_, " after step ", best_step_) : std::string("none was finite");
  return base::concat(figure_name(), " has not got better by more than ", config_.min_delta, " in ", num_worse_,
                      num_worse_ == 1 ? " evaluation: " : " evaluations: ", best);
}

base::StateDict EarlyStop::save_state() const {
  base::StateDict state;
  state.values["figure"] = figure_name();
  state.values["num_worse"] = num_worse_;
  if (!best_) return state;
  state.values["best"] = *best_;
  state.values["best_step"] = best_step_;
  return state;
}

void EarlyStop::load_state(const base::StateDict& state) {
  const auto get = [&](const char* name, auto& value) {
    using Value = std::decay_t<decltype(value)>;
    const auto found = state.values.find(name);
    const bool is_there = found != state.values.end() && std::holds_alternative<Value>(found->second);
    base::require<base::CheckpointError>(is_there, "the state of early_stop holds no '", name, "' of its kind");
    value = std::get<Value>(found->second);
  };
  std::string figure;
  get("figure", figure);
  best_.reset();
  num_worse_ = best_step_ = 0;
  if (figure != figure_name()) return;
  get("num_worse", num_worse_);
  if (!state.values.contains("best")) return;
  get("best", best_.emplace());
  get("best_step", best_step_);
}

}  // namespace rosa::training
