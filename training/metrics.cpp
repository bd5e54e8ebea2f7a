#include "training/metrics.h"

#include <nlohmann/json.hpp>

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
  for (const SourceMetrics& source : metrics.sources) {
    nlohmann::ordered_json entry = {
        {"name", source.name}, {"num_sequences", source.num_sequences}, {"epochs", source.epochs}};
    if (source.num_sequences > 0) {
      entry["loss"] = source.loss;
      entry["kl"] = source.kl;
      entry["ce"] = source.ce;
    }
    json["sources"].push_back(std::move(entry));
  }
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

void MetricsFile::on_start(int64_t first_step, int64_t) { start(first_step); }
void MetricsFile::on_checkpoint(int64_t, const std::filesystem::path&) {}
void MetricsFile::on_notice(const std::string&) {}
void MetricsFile::on_end() {}

}  // namespace rosa::training
