// ExperimentRun: one estimator and seed, trained until both budgets are used up, over all ranks; resumes from its
// checkpoint. Leaves metrics.jsonl and, when it is finished, result.json in its folder (formats: docs/experiments.md).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "parallel/communicator.h"
#include "training/checkpoint_writer.h"
#include "training/experiment/experiment_config.h"
#include "training/experiment/experiment_task.h"
#include "training/experiment/run_progress.h"
#include "training/metrics.h"
#include "training/resume.h"
#include "training/step_engine.h"
#include "training/weight_state.h"

namespace rosa::training {

inline constexpr const char* kResultFile = "result.json";

class ExperimentRun {
 public:
  // Communicator, executor and configuration outlive the run. Collective: every rank calls it.
  ExperimentRun(const ExperimentConfig& config, const ExperimentArm& arm, int64_t seed, std::filesystem::path folder,
                parallel::Communicator& communicator, HostExecutor& executor);

  // Called on every rank before a step, outside the measured time. What rank 0 returns, if anything, is added to
  // metrics.jsonl as a line.
  using BeforeStep = std::function<std::string(ExperimentTask& task, int64_t step)>;

  // Trains to the end, or saves and returns false where a rank wants to stop. Collective: every rank calls it. Throws
  // NumericError where a loss is not finite, and what checkpoints throw.
  bool run(const std::function<bool()>& stop_requested, const BeforeStep& before_step);

  const RunProgress& progress() const { return progress_; }

 private:
  struct StepNumbers {
    double loss = 0.0, milliseconds = 0.0;
  };

  bool is_main_rank() const { return communicator_.rank() == 0; }
  bool is_finished() const;
  void resume();
  StepNumbers step(int64_t step);
  double train(int64_t step);
  void update_estimator(const std::vector<double>& gradients);
  void after_step(const StepNumbers& numbers);
  ScoredPlace evaluate();
  void save_if_due();
  void begin_save();
  void warn_if_failed(const std::optional<SaveOutcome>& outcome) const;
  void save_and_wait();
  void write_result();

  const ExperimentConfig& config_;
  const ExperimentArm& arm_;
  const int64_t seed_;
  const std::filesystem::path folder_;
  parallel::Communicator& communicator_;
  std::unique_ptr<ExperimentTask> task_;
  std::unique_ptr<StepEngine> engine_;
  WeightState weights_;
  RunProgress progress_;
  JsonLinesFile metrics_;
  States states_;
  RunRecord record_;
  double saved_seconds_ = 0.0;  // progress_.seconds at the last save
  double logged_loss_sum_ = 0.0;
  int64_t num_logged_losses_ = 0;
  std::unique_ptr<CheckpointWriter> writer_;  // last: its thread uses the others
};

}  // namespace rosa::training
