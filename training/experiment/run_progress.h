// RunProgress: how far a run of an experiment is, and what it has found so far; a part of its checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/stateful.h"
#include "training/experiment/experiment_task.h"

namespace rosa::training {

// Scores at a place in a run, with the gate or adapter at work and with its output zeroed.
struct ScoredPlace {
  int64_t num_steps = 0;
  double seconds = 0.0;
  TaskScore score, zeroed;
};

struct RunProgress : public base::Stateful {
  int64_t num_steps = 0;
  double seconds = 0.0;  // of training: evaluations and saves are not counted
  std::vector<double> step_ms;
  double best_loss = 0.0;                              // of the evaluations; 0: none yet
  std::optional<ScoredPlace> equal_steps, equal_time;  // when a budget was used up

  base::StateDict save_state() const override;
  void load_state(const base::StateDict& state) override;
};

// {"steps":..,"seconds":..,"loss":..,"accuracy":..,"zeroed_loss":..,"zeroed_accuracy":..}
nlohmann::ordered_json to_json(const ScoredPlace& place);

// Of some values: {"mean":..,"p50":..,"p90":..}; values must not be empty.
nlohmann::ordered_json summary_json(std::vector<double> values);

}  // namespace rosa::training
