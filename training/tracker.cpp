#include "training/tracker.h"

#include "base/activity.h"
#include "base/log.h"

namespace rosa::training {

Tracker::Tracker(const std::string& command, const std::filesystem::path& run_folder, int64_t every)
    : program_({.name = "logging.command",
                .command = command,
                .log_file = run_folder / "logs/tracker.log",
                .environment = {{"ROSA_RUN_FOLDER", std::filesystem::absolute(run_folder).string()}},
                .warn = base::log_warning}),
      every_(every) {}

void Tracker::on_step(const StepMetrics& metrics) {
  if (is_logged_step(metrics.step, metrics.num_steps, every_)) {
    program_.write(metrics_line(metrics));
  } else {
    program_.poll();
  }
}

void Tracker::on_evaluation(const EvaluationMetrics& metrics) {
  for (const std::string& line : metrics_lines(metrics)) program_.write(line);
}

void Tracker::finish() {
  const base::PhaseScope phase(base::Phase::ending);
  program_.finish();
}

}  // namespace rosa::training
