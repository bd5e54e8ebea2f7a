#include "training/metrics.h"

#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace rosa::training {

bool is_logged_step(int64_t step, int64_t num_steps, int64_t every) {
  return step % every == 0 || step + 1 == num_steps;
}

void ObserverList::on_start(int64_t first_step, int64_t num_steps) {
  for (auto* observer : observers_) observer->on_start(first_step, num_steps);
}
void ObserverList::on_step(const StepMetrics& metrics) {
  for (auto* observer : observers_) observer->on_step(metrics);
}
void ObserverList::on_evaluation(const EvaluationMetrics& metrics) {
  for (auto* observer : observers_) observer->on_evaluation(metrics);
}
void ObserverList::on_checkpoint(int64_t step, const std::filesystem::path& folder) {
  for (auto* observer : observers_) observer->on_checkpoint(step, folder);
}
void ObserverList::on_notice(const std::string& text) {
  for (auto* observer : observers_) observer->on_notice(text);
}
void ObserverList::on_end() {
  for (auto* observer : observers_) observer->on_end();
}

void JsonLinesFile::start(int64_t first_step) {
  std::string content;
  if (std::ifstream in(path_); in) content.assign(std::istreambuf_iterator<char>(in), {});
  if (saved_bytes_ > static_cast<int64_t>(content.size())) {
    base::log_warning(base::concat(path_.string(), " has ", content.size(), " bytes, but had ", saved_bytes_,
                                   " at the checkpoint: lines before step ", first_step, " are missing"));
  } else if (saved_bytes_ > 0 && content[static_cast<size_t>(saved_bytes_) - 1] == '\n') {
    content.resize(static_cast<size_t>(saved_bytes_));
  }
  // A line cut short by a kill fails to parse and is dropped as well.
  std::string kept;
  std::istringstream lines(content);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_discarded() || !json.is_object() || !json.contains("step")) continue;
    const int64_t step = json.value("step", int64_t{-1});
    const bool shows_step = json.value("kind", std::string()) == "step";
    if (shows_step ? step < first_step : step <= first_step && first_step > 0) kept += line + "\n";
  }
  // A run that was rolled back starts again with the file open.
  out_.close();
  out_.clear();
  base::write_file_atomically(path_, kept);
  out_.open(path_, std::ios::app);
  base::require<base::FileError>(out_.is_open(), "can't append to ", path_.string());
}

void JsonLinesFile::write(const std::string& json) {
  out_ << json << "\n";
  out_.flush();
  base::require<base::FileError>(out_.good(), "can't append to ", path_.string(), "; is the disk full?");
}

void MetricsFile::on_step(const StepMetrics& metrics) {
  if (!is_logged_step(metrics.step, metrics.num_steps, every_)) return;
  nlohmann::ordered_json json = {{"kind", "step"},
                                 {"step", metrics.step},
                                 {"loss", metrics.loss},
                                 {"kl", metrics.kl},
                                 {"ce", metrics.ce},
                                 {"gradient_norm", metrics.gradient_norm},
                                 {"learning_rate", metrics.learning_rate},
                                 {"alpha", metrics.alpha},
                                 {"bits_tau", metrics.bits_tau},
                                 {"attn_tau", metrics.attn_tau},
                                 {"num_skipped", metrics.num_skipped},
                                 {"num_spikes", metrics.num_spikes},
                                 {"step_ms", metrics.step_ms},
                                 {"tokens_per_second", metrics.tokens_per_second},
                                 {"match_wait_ms", metrics.match_wait_ms},
                                 {"match_wait_share", metrics.match_wait_share},
                                 {"communication_wait_ms", metrics.communication_wait_ms},
                                 {"gradient_communication_ms", metrics.gradient_communication_ms},
                                 {"exposed_communication", metrics.exposed_communication},
                                 {"memory_bytes", metrics.memory_bytes},
                                 {"optimizer_bytes", metrics.optimizer_bytes}};
  for (const LayerMetrics& layer : metrics.layers) json["layers"].push_back(to_json(layer));
  write(json.dump());
}

void MetricsFile::on_evaluation(const EvaluationMetrics& metrics) {
  const nlohmann::ordered_json json = {{"kind", "evaluation"},
                                       {"step", metrics.step},
                                       {"ce", metrics.ce},
                                       {"perplexity", metrics.perplexity},
                                       {"num_tokens", metrics.num_tokens},
                                       {"num_sequences", metrics.num_sequences}};
  write(json.dump());
}

base::StateDict JsonLinesFile::save_state() const {
  base::sync_file(path_);
  base::StateDict state;
  state.values["bytes"] = static_cast<int64_t>(std::filesystem::file_size(path_));
  return state;
}

void JsonLinesFile::load_state(const base::StateDict& state) {
  const auto found = state.values.find("bytes");
  base::require<base::CheckpointError>(found != state.values.end() && std::holds_alternative<int64_t>(found->second),
                                       "the metrics' state holds no integer 'bytes'");
  saved_bytes_ = std::get<int64_t>(found->second);
}

void MetricsFile::on_start(int64_t first_step, int64_t) { start(first_step); }
void MetricsFile::on_checkpoint(int64_t, const std::filesystem::path&) {}
void MetricsFile::on_notice(const std::string&) {}
void MetricsFile::on_end() {}

}  // namespace rosa::training
