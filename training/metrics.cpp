#include "training/metrics.h"

#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "training/metric_fields.h"

namespace rosa::training {

bool is_logged_step(int64_t step, int64_t num_steps, int64_t every) {
  return step % every == 0 || step + 1 == num_steps;
}

bool more_is_better(const std::string& figure) { return figure.ends_with("/exact") || figure.ends_with("/top1"); }

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

std::string metrics_line(const StepMetrics& metrics) {
  nlohmann::ordered_json json = {{"kind", "step"}, {"step", metrics.step}};
  add_fields(json, step_fields(), metrics);
  if (!metrics.divergence.empty()) json["divergence"] = metrics.divergence;
  if (!metrics.stage.empty()) json["stage"] = metrics.stage;
  for (const LayerMetrics& layer : metrics.layers) json["layers"].push_back(to_json(layer));
  for (const SourceMetrics& source : metrics.sources) {
    nlohmann::ordered_json entry = {{"name", source.name}};
    for (const auto& field : source_fields()) {
      if (source.num_sequences == 0 && field.name == "loss") break;  // and what follows: they are of no token
      field.visit(source, [&](auto number) { entry[std::string(field.name)] = number; });
    }
    json["sources"].push_back(std::move(entry));
  }
  return json.dump();
}

std::vector<std::string> metrics_lines(const EvaluationMetrics& metrics) {
  nlohmann::ordered_json json = {{"kind", "evaluation"}, {"step", metrics.step}};
  add_fields(json, evaluation_fields(), metrics);
  if (!metrics.stage.empty()) json["stage"] = metrics.stage;
  if (!metrics.suite.empty()) {
    json["suite"] = metrics.suite;
    json["suite_rows"] = nlohmann::ordered_json::parse(metrics.suite_rows);
  }
  std::vector<std::string> lines = {json.dump()};
  if (metrics.samples.empty()) return lines;
  nlohmann::ordered_json samples = {{"kind", "samples"}, {"step", metrics.step}};
  for (const TextSample& sample : metrics.samples) {
    samples["samples"].push_back({{"prompt", base::as_utf8(sample.prompt)},
                                  {"continuation", base::as_utf8(sample.continuation)},
                                  {"reference", base::as_utf8(sample.reference)}});
  }
  lines.push_back(samples.dump());
  return lines;
}

void MetricsFile::on_step(const StepMetrics& metrics) {
  if (is_logged_step(metrics.step, metrics.num_steps, every_)) write(metrics_line(metrics));
}

void MetricsFile::on_evaluation(const EvaluationMetrics& metrics) {
  for (const std::string& line : metrics_lines(metrics)) write(line);
}

void MetricsFile::on_start(int64_t first_step, int64_t) { start(first_step); }
void MetricsFile::on_checkpoint(int64_t, const std::filesystem::path&) {}
void MetricsFile::on_notice(const std::string&) {}
void MetricsFile::on_end() {}

}  // namespace rosa::training
