// Writes a run's numbers to event files for TensorBoard: what `logging.tensorboard` asks for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/line_file.h"
#include "training/metrics.h"
#include "training/tensorboard/events.h"

namespace rosa::training::tensorboard {

struct WriterSettings {
  std::filesystem::path folder;               // of the event files; made where it is missing
  int64_t every = 1;                          // steps between those that are written; the last one is too
  std::map<std::string, std::string> recipe;  // by key: the hyperparameters
  std::string configuration;                  // a text
};

// Every start of a run has a file of its own, so that a TensorBoard which reads along finds it; what earlier starts
// wrote of steps that are done again is cut off their files. So each step is there once, and a TensorBoard that has
// read it already is told to forget it. A disk that is full or a file that is removed by others is a warning
// (base/line_file.h); so is damage, of which nothing is kept from there on.
class Writer : public TrainingObserver {
 public:
  explicit Writer(WriterSettings settings) : settings_(std::move(settings)) {}

  // Throws FileError where the first file can't be made.
  void on_start(int64_t first_step, int64_t num_steps) override;
  void on_step(const StepMetrics& metrics) override;
  void on_evaluation(const EvaluationMetrics& metrics) override;
  void on_checkpoint(int64_t, const std::filesystem::path&) override {}
  void on_notice(const std::string&) override {}
  void on_end() override {}

 private:
  void write(const std::string& event);

  WriterSettings settings_;
  MetricEvents events_;
  std::optional<base::LineFile> file_;
};

// Cuts from the event files of a run what a run that goes on at `first_step` makes again: steps from that one on, and
// evaluations after more steps. Returns the evaluations after exactly `first_step` steps, which are cut too: whoever
// tells readers to forget this step writes them again. Files of others stay as they are. Throws FileError.
std::vector<std::string> cut_event_files(const std::filesystem::path& folder, int64_t first_step);

}  // namespace rosa::training::tensorboard
