// The numbers that a run tells: the description of each (base/run_figures.h) and where it stands in its struct. Every
// output is made from these tables: metrics.jsonl, `rosa metrics`, trackers, and docs/metrics.md.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/run_figures.h"
#include "training/layer_metrics.h"
#include "training/metrics.h"

namespace rosa::training {

template <class Metrics>
struct MetricField : base::RunFigure {
  // An optional is left out of every output where it has no number.
  std::variant<double Metrics::*, int64_t Metrics::*, std::optional<double> Metrics::*,
               std::optional<int64_t> Metrics::*>
      value;

  // Applies `use` to the number, as a double or an int64_t, where there is one.
  template <class Use>
  void visit(const Metrics& metrics, const Use& use) const {
    std::visit([&](auto member) { apply(metrics.*member, use); }, value);
  }
  bool is_whole() const {
    return std::holds_alternative<int64_t Metrics::*>(value) ||
           std::holds_alternative<std::optional<int64_t> Metrics::*>(value);
  }

 private:
  template <class Number, class Use>
  static void apply(const Number& number, const Use& use) {
    use(number);
  }
  template <class Number, class Use>
  static void apply(const std::optional<Number>& number, const Use& use) {
    if (number) use(*number);
  }
};

// In the order in which outputs show them. Without "kind" and "step", which every line has.
std::span<const MetricField<StepMetrics>> step_fields();
std::span<const MetricField<SourceMetrics>> source_fields();
std::span<const MetricField<LayerMetrics>> layer_fields();
std::span<const MetricField<EvaluationMetrics>> evaluation_fields();

// Adds the numbers of `metrics` to an object. What is not finite becomes null, since JSON has no word for it.
template <class Metrics>
void add_fields(nlohmann::ordered_json& json, std::span<const MetricField<Metrics>> fields, const Metrics& metrics) {
  for (const auto& field : fields) {
    field.visit(metrics, [&](auto number) { json[std::string(field.name)] = number; });
  }
}

// The reference of all of them, as Markdown: docs/metrics.md.
std::string metrics_reference();

}  // namespace rosa::training
