// EarlyStop: whether the evaluations of a run no longer get better (train.early_stop). Evaluates nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/stateful.h"
#include "training/config.h"
#include "training/metrics.h"

namespace rosa::training {

class EarlyStop : public base::Stateful {
 public:
  explicit EarlyStop(EarlyStopSection config) : config_(std::move(config)) {}

  // Counts an evaluation; one without the figure, since its suite did not run, does not count. A figure that is not
  // finite is no better than any.
  void note(const EvaluationMetrics& evaluation);

  // Whether patience is at its end. With patience 0: never.
  bool is_reached() const { return config_.patience > 0 && num_worse_ >= config_.patience; }
  // "ce has not got better by more than 0 in 3 evaluations: the best was 1.25 after step 400".
  std::string reason() const;

  base::StateDict save_state() const override;
  // Throws CheckpointError for a state of another form. A state of another figure is not comparable, and left.
  void load_state(const base::StateDict& state) override;

 private:
  std::string figure_name() const { return config_.figure.empty() ? "ce" : config_.figure; }

  EarlyStopSection config_;
  std::optional<double> best_;  // the figure
  int64_t best_step_ = 0;       // steps done before its evaluation
  int64_t num_worse_ = 0;       // evaluations since
};

}  // namespace rosa::training
