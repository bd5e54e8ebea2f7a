#include "launch/progress.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/formatted.h"
#include "base/log.h"
#include "base/printable.h"
#include "launch/host_facts.h"
#include "launch/terminal_line.h"

namespace rosa::launch {
namespace {

using base::formatted;
using training::EvaluationMetrics;
using training::StepMetrics;

constexpr double kSecondsBetweenDraws = 0.1;
constexpr double kStepMeanWeight = 0.1;  // of the newest step in the moving average behind the ETA
constexpr int kMaxBarColumns = 30;
// Below it the screen's lines would be cut, or leave too little of what scrolls above.
constexpr int kMinScreenColumns = 100, kMinScreenRows = 12;

std::string counter_text(const StepMetrics& metrics) {
  const std::string total = std::to_string(metrics.num_steps);
  return formatted("%*lld/%s", static_cast<int>(total.size()), static_cast<long long>(metrics.step + 1), total.c_str());
}

// "12 ms (12%)"
std::string part_text(double milliseconds, double whole) {
  const double percent = whole > 0 ? 100 * milliseconds / whole : 0.0;
  return formatted("%.*f ms (%.0f%%)", milliseconds < 10 ? 1 : 0, milliseconds, percent);
}

// "  0.42 TFLOP/s (17% of peak);  memory 512 MiB;  device 3.0 GiB, at most 3.4 GiB"
std::string work_and_memory_text(const StepMetrics& metrics) {
  std::string text = formatted("  %.3g TFLOP/s", metrics.tflops_per_second);
  if (metrics.flop_use) text += formatted(" (%.0f%% of peak)", 100 * *metrics.flop_use);
  text += ";  memory " + bytes_text(metrics.memory_bytes);
  if (metrics.device_allocated_bytes) text += ";  device " + bytes_text(*metrics.device_allocated_bytes);
  if (metrics.device_peak_bytes) text += ", at most " + bytes_text(*metrics.device_peak_bytes);
  return text;
}

std::string evaluation_text(const EvaluationMetrics& metrics) {
  return formatted("evaluation after step %lld: cross-entropy %.4f, perplexity %.3f",
                   static_cast<long long>(metrics.step), metrics.ce, metrics.perplexity);
}

// A line that wraps can't be redrawn.
std::string cut_to(const std::string& line, int num_columns) {
  return line.substr(0, static_cast<std::size_t>(std::max(0, num_columns - 1)));
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto whole = static_cast<long long>(std::llround(std::max(0.0, seconds)));
  if (whole >= 3600) return formatted("%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  return formatted("%lld:%02lld", whole / 60, whole % 60);
}

std::string count_text(double count) {
  if (count < 1000) return formatted("%.0f", count);
  if (count < 1e6) return formatted("%.1fk", count / 1e3);
  return formatted("%.1fM", count / 1e6);
}

std::string step_text(const StepMetrics& metrics, double eta_seconds, bool with_parts) {
  std::string parts;
  if (metrics.kl != 0.0)
    parts = (metrics.divergence.empty() ? "kl" : metrics.divergence) + formatted(" %.4f", metrics.kl);
  if (metrics.ce != 0.0) parts += (parts.empty() ? "" : ", ") + formatted("ce %.4f", metrics.ce);
  return formatted("loss %.4f", metrics.loss) + (parts.empty() || !with_parts ? "" : " (" + parts + ")") +
         formatted("  alpha %.2f  lr %.1e  ", metrics.alpha, metrics.learning_rate) +
         count_text(metrics.tokens_per_second) + " tok/s  ETA " + duration_text(eta_seconds);
}

std::string sources_text(const std::vector<training::SourceMetrics>& sources) {
  constexpr std::size_t kMaxSources = 4;
  std::string text;
  std::size_t num_seen = 0;
  for (const training::SourceMetrics& source : sources) {
    if (source.num_sequences == 0 || ++num_seen > kMaxSources) continue;
    text += base::concat(text.empty() ? "" : ", ", base::excerpt(source.name, 20), formatted(" %.4f", source.loss));
  }
  if (num_seen > kMaxSources) text += base::concat(" and ", num_seen - kMaxSources, " more");
  return text;
}

std::string bar_text(const StepMetrics& metrics, double eta_seconds, int num_columns, const std::string& sources) {
  const std::string counter = counter_text(metrics);
  std::string numbers = step_text(metrics, eta_seconds);
  const double share =
      metrics.num_steps > 0 ? static_cast<double>(metrics.step + 1) / static_cast<double>(metrics.num_steps) : 0.0;
  const int percent = static_cast<int>(100 * share);
  std::string line = counter + formatted(" %3d%%  ", percent);
  if (!sources.empty() && static_cast<int>(line.size() + numbers.size() + sources.size()) + 2 < num_columns) {
    numbers += "  " + sources;
  }
  // The bar takes what the numbers leave; on a narrow terminal there is none.
  const int room = num_columns - 1 - static_cast<int>(line.size() + numbers.size()) - 4;
  const int width = std::min(room, kMaxBarColumns);
  if (width >= 8) {
    const int filled = std::clamp(static_cast<int>(share * width), 0, width);
    std::string bar(static_cast<std::size_t>(filled), '=');
    if (filled < width) bar += '>';
    bar.resize(static_cast<std::size_t>(width), ' ');
    line += "[" + bar + "]  ";
  } else if (static_cast<int>(line.size() + numbers.size()) >= num_columns) {
    numbers = step_text(metrics, eta_seconds, /*with_parts=*/false);
  }
  line += numbers;
  return cut_to(line, num_columns);
}

bool fits_screen(const Terminal& terminal) {
  return terminal.num_columns >= kMinScreenColumns && terminal.num_rows >= kMinScreenRows;
}

std::string screen_text(const StepMetrics& metrics, const RunNews& news, double eta_seconds, int num_columns,
                        const std::string& sources) {
  const double whole = metrics.step_ms;
  const double rest = std::max(0.0, whole - metrics.match_wait_ms - metrics.communication_wait_ms);
  const std::string time = formatted("  step %.0f ms: ", whole) + part_text(metrics.match_wait_ms, whole) +
                           " waiting for automata, " + part_text(metrics.communication_wait_ms, whole) +
                           " communication, " + part_text(rest, whole) + " rest";
  std::string last = "  " + (news.last_evaluation ? evaluation_text(*news.last_evaluation) : "no evaluation yet") +
                     (news.last_saved_step >= 0 ? base::concat(";  saved step ", news.last_saved_step)
                                                : std::string(";  nothing saved yet"));
  last += base::concat(";  ", news.num_warnings, news.num_warnings == 1 ? " warning" : " warnings");
  std::string text = bar_text(metrics, eta_seconds, num_columns, sources);
  for (const std::string& line : {time, work_and_memory_text(metrics), last})
    text += base::concat("\n", cut_to(line, num_columns));
  return text;
}

ProgressDisplay::ProgressDisplay(const Terminal& terminal, double seconds_between_lines)
    : terminal_(terminal), seconds_between_lines_(seconds_between_lines) {}

ProgressDisplay::~ProgressDisplay() {
  if (terminal_.is_terminal) clear_terminal_line();
}

void ProgressDisplay::on_start(int64_t first_step, int64_t num_steps) {
  has_shown_ = false;
  mean_step_ms_ = 0.0;
  sources_.clear();
  if (first_step >= num_steps) {
    base::log_info(
        base::concat("the run is done: it has made ", first_step, " of ", num_steps,
                     " steps. To train longer: --set train.num_steps=N (in a stage: stages.NAME.train.num_steps=N) "
                     "--accept-changed num_steps"));
  } else if (first_step > 0) {
    base::log_info(base::concat("going on from step ", first_step, " of ", num_steps));
  }
}

double ProgressDisplay::remaining_seconds(const StepMetrics& metrics) {
  mean_step_ms_ = mean_step_ms_ == 0.0 ? metrics.step_ms
                                       : (1 - kStepMeanWeight) * mean_step_ms_ + kStepMeanWeight * metrics.step_ms;
  return static_cast<double>(metrics.num_steps - metrics.step - 1) * mean_step_ms_ / 1000.0;
}

// A source that had no sequences in this step keeps its last loss.
void ProgressDisplay::remember_sources(const std::vector<training::SourceMetrics>& sources) {
  sources_.resize(std::max(sources_.size(), sources.size()));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (sources[i].num_sequences > 0) sources_[i] = sources[i];
  }
}

void ProgressDisplay::on_step(const StepMetrics& metrics) {
  remember_sources(metrics.sources);
  const double eta_seconds = remaining_seconds(metrics);
  const bool is_last = metrics.step + 1 >= metrics.num_steps;
  const auto now = Clock::now();
  const double pause = terminal_.is_terminal ? kSecondsBetweenDraws : seconds_between_lines_;
  if (has_shown_ && !is_last && std::chrono::duration<double>(now - last_shown_).count() < pause) return;
  has_shown_ = true;
  last_shown_ = now;
  const std::string sources = sources_text(sources_);
  if (terminal_.is_terminal) {
    news_.num_warnings = base::num_warnings();
    const int num_columns = terminal_.num_columns;
    draw_terminal_line(fits_screen(terminal_) ? screen_text(metrics, news_, eta_seconds, num_columns, sources)
                                              : bar_text(metrics, eta_seconds, num_columns, sources));
  } else {
    base::log_info(base::concat("step ", counter_text(metrics), "  ", step_text(metrics, eta_seconds),
                                sources.empty() ? "" : "  ", sources));
  }
}

void ProgressDisplay::on_evaluation(const EvaluationMetrics& metrics) {
  news_.last_evaluation = metrics;
  base::log_info(evaluation_text(metrics) + formatted(" (%lld tokens of %lld sequences)",
                                                      static_cast<long long>(metrics.num_tokens),
                                                      static_cast<long long>(metrics.num_sequences)));
  if (!metrics.samples.empty()) {
    const training::TextSample& sample = metrics.samples.front();
    base::log_info(base::concat("sample after step ", metrics.step, ": '", base::excerpt(sample.prompt, 60),
                                "' goes on '", base::excerpt(sample.continuation, 100), "'"));
  }
  std::string suite;
  for (const auto& [name, value] : metrics.suite) {
    if (!name.ends_with("/exact") && !name.ends_with("/perplexity")) continue;  // one figure a task
    suite += base::concat(suite.empty() ? "" : ", ", base::printable(name), " ", formatted("%.3f", value));
  }
  if (!suite.empty()) base::log_info(base::concat("suite after step ", metrics.step, ": ", suite));
}

void ProgressDisplay::on_checkpoint(int64_t step, const std::filesystem::path& folder) {
  news_.last_saved_step = step;
  base::log_info(base::concat("saved step ", step, " in ", folder.string()));
}

void ProgressDisplay::on_notice(const std::string& text) { base::log_info(text); }

void ProgressDisplay::on_end() {
  if (terminal_.is_terminal) clear_terminal_line();
}

}  // namespace rosa::launch
