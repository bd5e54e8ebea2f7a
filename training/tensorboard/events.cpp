#include "training/tensorboard/events.h"

#include <cmath>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "training/metric_fields.h"
#include "training/tensorboard/protobuf.h"

namespace rosa::training::tensorboard {
namespace {

using base::concat;

constexpr std::string_view kEvaluationPrefix = "evaluation/";

// The numbers of the fields, as TensorBoard's schema has them.
enum Event { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7 };
enum SummaryMessage { kValue = 1 };
enum Value { kTag = 1, kSimpleValue = 2, kHistogram = 5, kTensor = 8, kMetadata = 9 };
enum Metadata { kPluginData = 1, kDescription = 3 };
enum PluginData { kPluginName = 1, kContent = 2 };
enum Histogram { kMin = 1, kMax = 2, kNum = 3, kSum = 4, kBucketLimit = 6, kBucket = 7 };
enum Tensor { kType = 1, kShape = 2, kStringValue = 8 };
enum TensorType { kFloatType = 1, kStringType = 7 };
enum SessionLog { kStatus = 1, kStart = 1 };
enum HyperparameterData { kSessionStart = 3 };
enum SessionStart { kHyperparameters = 1, kStartTime = 5 };
enum MapEntry { kKey = 1, kMapValue = 2 };
enum JsonValue { kNumber = 2, kString = 3, kBool = 4 };

ProtoWriter event_at(double wall_time, int64_t step) {
  ProtoWriter event;
  event.number(kWallTime, wall_time).integer(kStep, step);
  return event;
}

ProtoWriter plugin_metadata(std::string_view plugin, std::string_view content, std::string_view description) {
  ProtoWriter data, metadata;
  data.bytes(kPluginName, plugin).bytes(kContent, content);
  metadata.bytes(kPluginData, data);
  if (!description.empty()) metadata.bytes(kDescription, description);
  return metadata;
}

// An event whose summary is this one value.
std::string event_of(double wall_time, int64_t step, const ProtoWriter& value) {
  ProtoWriter summary;
  summary.bytes(kValue, value);
  return event_at(wall_time, step).bytes(kSummary, summary).message();
}

ProtoWriter json_value(const std::string& text) {
  ProtoWriter value;
  if (text == "true" || text == "false") return value.integer(kBool, text == "true" ? 1 : 0);
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const bool is_number = !text.empty() && *end == '\0' && std::isfinite(number);
  return is_number ? value.number(kNumber, number) : value.bytes(kString, base::as_utf8(text));
}

// Position b of `counts` is of matches of 2^(b-1) to 2^b - 1 symbols, position 0 of none.
ProtoWriter match_length_histogram(const LayerMetrics& layer) {
  std::vector<double> limits, counts;
  double num = 0.0;
  for (size_t bucket = 0; bucket < layer.match_lengths.size(); ++bucket) {
    limits.push_back(std::ldexp(1.0, static_cast<int>(bucket)) - 0.5);
    counts.push_back(static_cast<double>(layer.match_lengths[bucket]));
    num += counts.back();
  }
  const double num_unmatched = counts.empty() ? 0.0 : counts.front();
  ProtoWriter histogram;
  histogram.number(kMin, 0.0).number(kMax, static_cast<double>(layer.max_match_length)).number(kNum, num);
  histogram.number(kSum, layer.mean_match_length * (num - num_unmatched));
  return histogram.packed(kBucketLimit, limits).packed(kBucket, counts);
}

}  // namespace

std::string version_event(double wall_time) {
  ProtoWriter event;
  return event.number(kWallTime, wall_time).bytes(kFileVersion, "brain.Event:2").message();
}

std::string restart_event(double wall_time, int64_t step) {
  ProtoWriter log;
  log.integer(kStatus, kStart);
  return event_at(wall_time, step).bytes(kSessionLog, log).message();
}

std::string hyperparameters_event(double wall_time, int64_t step, const std::map<std::string, std::string>& values) {
  ProtoWriter start;
  for (const auto& [name, text] : values) {
    ProtoWriter entry;
    entry.bytes(kKey, base::as_utf8(name)).bytes(kMapValue, json_value(text));
    start.bytes(kHyperparameters, entry);
  }
  start.number(kStartTime, wall_time);
  ProtoWriter data, dimension, shape, tensor, value;
  data.bytes(kSessionStart, start);
  // An empty tensor, since the plugin looks for one.
  dimension.integer(1, 0);
  shape.bytes(2, dimension);
  tensor.integer(kType, kFloatType).bytes(kShape, shape);
  value.bytes(kTag, "_hparams_/session_start_info").bytes(kTensor, tensor);
  value.bytes(kMetadata, plugin_metadata("hparams", data.message(), ""));
  return event_of(wall_time, step, value);
}

std::string text_event(double wall_time, int64_t step, std::string_view tag, std::string_view text) {
  ProtoWriter tensor, value;
  tensor.integer(kType, kStringType).bytes(kShape, "").bytes(kStringValue, base::as_utf8(text));
  value.bytes(kTag, base::as_utf8(tag)).bytes(kTensor, tensor).bytes(kMetadata, plugin_metadata("text", "", ""));
  return event_of(wall_time, step, value);
}

std::string sample_event(double wall_time, int64_t step, int64_t number, const TextSample& sample) {
  std::string text;
  // TensorBoard takes texts for Markdown, in which indented lines stay as they are.
  for (const auto& [title, part] : {std::pair{"Prompt", &sample.prompt},
                                    {"Continuation", &sample.continuation},
                                    {"Reference", &sample.reference}}) {
    text += concat("**", title, "**\n\n    ");
    for (const char symbol : base::as_utf8(*part))
      text += symbol == '\n' ? std::string("\n    ") : std::string(1, symbol);
    text += "\n\n";
  }
  return text_event(wall_time, step, concat(kEvaluationPrefix, "sample_", number), text);
}

// The values of one event.
class MetricEvents::Summary {
 public:
  explicit Summary(std::set<std::string>& described) : described_(described) {}

  template <class Metrics>
  void add(const std::string& group, std::span<const MetricField<Metrics>> fields, const Metrics& metrics) {
    for (const auto& field : fields) {
      field.visit(metrics, [&](auto number) {
        ProtoWriter value =
            begin(concat(group, "/", field.name), "scalars",
                  field.unit.empty() ? std::string(field.meaning) : concat(field.meaning, " (", field.unit, ")"));
        value.number(kSimpleValue, static_cast<float>(number));
        summary_.bytes(kValue, value);
      });
    }
  }

  void add(const std::string& tag, double number) {
    summary_.bytes(kValue, begin(tag, "scalars", "").number(kSimpleValue, static_cast<float>(number)));
  }

  void add(const std::string& tag, const std::string& meaning, const ProtoWriter& histogram) {
    summary_.bytes(kValue, begin(tag, "histograms", meaning).bytes(kHistogram, histogram));
  }

  std::string event(double wall_time, int64_t step) const {
    return event_at(wall_time, step).bytes(kSummary, summary_).message();
  }

 private:
  ProtoWriter begin(const std::string& tag, std::string_view plugin, const std::string& meaning) {
    const std::string name = base::as_utf8(tag);
    ProtoWriter value;
    value.bytes(kTag, name);
    if (described_.insert(name).second) value.bytes(kMetadata, plugin_metadata(plugin, "", meaning));
    return value;
  }

  std::set<std::string>& described_;
  ProtoWriter summary_;
};

std::string MetricEvents::step(double wall_time, const StepMetrics& metrics) {
  Summary summary(described_);
  summary.add("step", step_fields(), metrics);
  for (const LayerMetrics& layer : metrics.layers) {
    const std::string group = concat("layer_", layer.layer);
    summary.add(group, layer_fields(), layer);
    summary.add(group + "/match_lengths", "positions by the length of their match in symbols; 0: without one",
                match_length_histogram(layer));
  }
  for (const SourceMetrics& source : metrics.sources) {
    // Of no token, as in metrics.jsonl.
    if (source.num_sequences > 0) summary.add("source_" + source.name, source_fields(), source);
  }
  return summary.event(wall_time, metrics.step);
}

std::string MetricEvents::evaluation(double wall_time, const EvaluationMetrics& metrics) {
  Summary summary(described_);
  summary.add(std::string(kEvaluationPrefix.substr(0, kEvaluationPrefix.size() - 1)), evaluation_fields(), metrics);
  for (const auto& [name, value] : metrics.suite) summary.add(concat(kEvaluationPrefix, name), value);
  return summary.event(wall_time, metrics.step);
}

std::optional<EventPlace> place_of(std::string_view event) {
  EventPlace place;
  ProtoReader fields(event);
  while (const auto field = fields.next()) {
    if (field->number == kStep) place.step = static_cast<int64_t>(field->value);
    if (field->number != kSummary) continue;
    ProtoReader values(field->bytes);
    while (const auto value = values.next()) {
      if (value->number != kValue) continue;
      ProtoReader parts(value->bytes);
      while (const auto part = parts.next()) {
        if (part->number == kTag && part->bytes.starts_with(kEvaluationPrefix)) place.is_evaluation = true;
      }
    }
  }
  if (fields.is_damaged()) return {};
  return place;
}

}  // namespace rosa::training::tensorboard
