// Shows how a run goes: a few lines that are redrawn on a terminal (one where it is small), lines from time to time
// elsewhere. The texts are plain functions of the numbers of a step.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launch/process.h"
#include "training/metrics.h"

namespace rosa::launch {

// "0:07", "12:05", "3:20:00".
std::string duration_text(double seconds);

// "12.3k", "950", "1.2M".
std::string count_text(double count);

// "loss 1.2346 (kl 1.1000, ce 1.3000)  alpha 1.00  lr 9.8e-04  12.3k tok/s  ETA 0:45"
std::string step_text(const training::StepMetrics& metrics, double eta_seconds, bool with_parts = true);

// Of a mixture, the loss of each source that had sequences yet: "web 1.2346, code 0.9812", of more than four "and 2
// more".
std::string sources_text(const std::vector<training::SourceMetrics>& sources);

// "120/600  20%  [=====>          ]  " + step_text; on a narrow terminal without the bar, then without the loss's
// parts. `sources` stands behind it where there is room.
std::string bar_text(const training::StepMetrics& metrics, double eta_seconds, int num_columns,
                     const std::string& sources = "");

// What the screen tells beside the step.
struct RunNews {
  std::optional<training::EvaluationMetrics> last_evaluation = {};
  int64_t last_saved_step = -1;  // -1: none yet
  int64_t num_warnings = 0;
};

// Whether a terminal has room for the screen.
bool fits_screen(const Terminal& terminal);

// bar_text, and below it where the time of the step goes and the memory, the last evaluation and checkpoint, and the
// warnings. Every line is shorter than the terminal is wide.
std::string screen_text(const training::StepMetrics& metrics, const RunNews& news, double eta_seconds, int num_columns,
                        const std::string& sources = "");

class ProgressDisplay : public training::TrainingObserver {
 public:
  // Draws on standard error where that is a terminal; else writes log lines at most every `seconds_between_lines`.
  // Give `console()` to base::start_log so that log lines and the bar do not overwrite each other.
  explicit ProgressDisplay(const Terminal& terminal, double seconds_between_lines = 10.0);
  ~ProgressDisplay() override;
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  void on_start(int64_t first_step, int64_t num_steps) override;
  void on_step(const training::StepMetrics& metrics) override;
  void on_evaluation(const training::EvaluationMetrics& metrics) override;
  void on_checkpoint(int64_t step, const std::filesystem::path& folder) override;
  void on_notice(const std::string& text) override;
  void on_end() override;

 private:
  using Clock = std::chrono::steady_clock;

  double remaining_seconds(const training::StepMetrics& metrics);
  void remember_sources(const std::vector<training::SourceMetrics>& sources);

  Terminal terminal_;
  double seconds_between_lines_;
  double mean_step_ms_ = 0.0;
  std::vector<training::SourceMetrics> sources_;  // of a mixture, as they were seen last
  Clock::time_point last_shown_;
  bool has_shown_ = false;
  RunNews news_;
};

}  // namespace rosa::launch
