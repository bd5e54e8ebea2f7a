// Tracker: gives the lines of metrics.jsonl to a program of the user's while a run goes on: what `logging.command` asks
// for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/line_command.h"
#include "training/metrics.h"

namespace rosa::training {

// What goes wrong with the program is a warning (base/line_command.h). A run that is resumed, or rolled back, gives the
// lines from its step on again.
class Tracker : public TrainingObserver {
 public:
  // Starts `command`. What it prints goes to logs/tracker.log in the run folder, which is ROSA_RUN_FOLDER in its
  // environment.
  Tracker(const std::string& command, const std::filesystem::path& run_folder, int64_t every);

  void on_start(int64_t, int64_t) override {}
  void on_step(const StepMetrics& metrics) override;
  void on_evaluation(const EvaluationMetrics& metrics) override;
  void on_checkpoint(int64_t, const std::filesystem::path&) override { program_.poll(); }
  void on_notice(const std::string&) override {}
  void on_end() override {}

  // When the run is over: waits for the program's end, for a bounded time.
  void finish();

 private:
  base::LineCommand program_;
  int64_t every_;
};

}  // namespace rosa::training
