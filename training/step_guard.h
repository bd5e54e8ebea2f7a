// StepGuard: decides before each update of the weights whether it is made: not where loss or gradient is not finite,
// and not at a loss spike where that is configured. All ranks decide alike. Changes no weights and loads no checkpoints
// itself; counts, and keeps its memory through checkpoints.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/fields.h"
#include "base/stateful.h"
#include "parallel/communicator.h"

namespace rosa::training {

enum class OnNonFinite { stop, skip, roll_back };
enum class OnSpike { ignore, log, skip };

struct StepGuardConfig {
  OnNonFinite on_non_finite = OnNonFinite::skip;
  int64_t max_in_a_row = 5;  // steps skipped in a row, or roll-backs in the whole run
  OnSpike on_spike = OnSpike::log;
  double spike_deviations = 10.0;  // robust standard deviations of the log loss above its median
  int64_t spike_window = 64;       // steps that median and deviation are taken of
};
void describe(base::FieldVisitor& visitor, StepGuardConfig& config);

enum class StepDecision { update, skip, roll_back };

// The numbers of a step over the global batch, the same on every rank.
struct StepNumbers {
  int64_t step = 0;
  double loss = 0.0, gradient_norm = 0.0;
};

class StepGuard : public base::Stateful {
 public:
  explicit StepGuard(const StepGuardConfig& config);

  // `blame` says what is not finite on this rank ("" where all is); it is asked only where something is not. Throws
  // NumericError on every rank, naming the ranks, where the configuration says stop or max_in_a_row is passed.
  // Warnings go to the log of rank 0. Collective: every rank calls it.
  StepDecision decide(const StepNumbers& numbers, const std::function<std::string()>& blame,
                      parallel::Communicator& communicator);

  // Runs `load`, which brings back an earlier state of the run, this object's too, but keeps what has been learnt
  // since: which steps failed (they are skipped when they come again) and the counts.
  void roll_back(const std::function<void()>& load);

  // The guard of the stage before left this state: its counts and failed steps go on; losses are another stage's, and
  // are not compared.
  void follow(const base::StateDict& state);

  // Since the start of the run, in all its processes.
  int64_t num_skipped() const { return num_skipped_; }
  int64_t num_spikes() const { return num_spikes_; }
  int64_t num_roll_backs() const { return num_roll_backs_; }

  base::StateDict save_state() const override;
  void load_state(const base::StateDict& state) override;

 private:
  // Robust standard deviations of `loss` above the median of the window; 0 while the window is short.
  double spike_of(double loss) const;
  StepDecision decide_non_finite(const StepNumbers& numbers, const std::string& blame, bool is_main_rank);

  StepGuardConfig config_;
  std::vector<double> log_losses_;  // the newest last
  std::set<int64_t> failed_steps_;  // before which the run was rolled back
  int64_t in_a_row_ = 0;
  int64_t num_skipped_ = 0, num_spikes_ = 0, num_roll_backs_ = 0;
};

}  // namespace rosa::training
