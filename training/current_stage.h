// CurrentStage: what a run works with in the stage that it is in: data, trainer, early stop. At a border all three are
// made anew on the same model and adapters. A run without stages is in one from its beginning to its end.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "training/checkpoint.h"
#include "training/consumed_log.h"
#include "training/data/shifted_source.h"
#include "training/early_stop.h"
#include "training/progress.h"
#include "training/run_objects.h"
#include "training/stages.h"
#include "training/trainer.h"

namespace rosa::training {

class CurrentStage {
 public:
  // `objects` were built for the first stage. Opens the data of all stages and enters the first. All arguments outlive
  // it. Collective: every rank calls it. Throws what make_data_source and Trainer do.
  CurrentStage(const Stages& stages, RunObjects& objects, parallel::Communicator& communicator);

  // Enters a stage: optimiser, guard and early stop begin anew, but for what the guard has counted. Collective: every
  // rank calls it. Throws CheckpointError for a stage that the run does not have.
  void enter(const StagePlace& place);

  // Opens the log of consumed samples, where the run keeps one, at a step of the run. Collective: every rank calls it.
  void start_consumed_log(int64_t step);

  const RunConfig& config() const { return stage().config; }
  const Stage& stage() const { return stages_[static_cast<std::size_t>(place_.index)]; }
  const StagePlace& place() const { return place_; }
  std::string title() const { return stage_title(stages_, static_cast<std::size_t>(place_.index)); }
  int64_t samples_per_step() const;
  bool is_last() const { return place_.index + 1 == static_cast<int64_t>(stages_.size()); }
  // Where the next stage begins, after so many steps and samples of the run.
  StagePlace next(const Progress& progress) const;

  Trainer& trainer() { return *trainer_; }
  const Trainer& trainer() const { return *trainer_; }
  EarlyStop* early_stop() { return early_stop_ ? &*early_stop_ : nullptr; }
  RunParts parts() const;
  // Those of trainer and early stop, by name.
  States states();

  // Of the whole run, in whatever stage it is. `stages`: as configured, where this object got others to try them.
  IdentityFields identity(const Stages& stages, Objective objective) const;

 private:
  struct StageData {
    std::unique_ptr<DataSource> training, held_out;
  };
  const StageData& data_of(std::size_t index) const { return *data_[index]; }
  void check_later_held_out_data() const;
  // What the first stage has, and what others have otherwise.
  std::string content_of_training_data() const;

  const Stages& stages_;
  RunObjects& objects_;
  parallel::Communicator& communicator_;
  std::vector<std::shared_ptr<StageData>> data_;  // of each stage; those with the same keys share one
  StagePlace place_;
  // Around the stage's training data; null: not needed.
  std::unique_ptr<ShiftedSource> shifted_;
  std::unique_ptr<ConsumedLog> consumed_log_;
  std::unique_ptr<Trainer> trainer_;
  std::optional<EarlyStop> early_stop_;
};

}  // namespace rosa::training
