// The events that TensorBoard reads, made of a run's numbers as training/metric_fields.h describes them. Texts of
// bytes; training/tensorboard/record.h frames them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "training/metrics.h"

namespace rosa::training::tensorboard {

// The first of a file, with the version of the format.
std::string version_event(double wall_time);

// Tells a TensorBoard that has read the run already to forget what it knows of this step and all after it.
std::string restart_event(double wall_time, int64_t step);

// The configuration of the run, for the table of hyperparameters: numbers and yes or no by their type.
std::string hyperparameters_event(double wall_time, int64_t step, const std::map<std::string, std::string>& values);

// A text, shown as it is.
std::string text_event(double wall_time, int64_t step, std::string_view tag, std::string_view text);

// A sample of an evaluation, "evaluation/sample_1": prompt, continuation and reference under headings. `number`:
// from 1.
std::string sample_event(double wall_time, int64_t step, int64_t number, const TextSample& sample);

// Makes the events of steps and evaluations. What a tag means is told with the first value of it.
class MetricEvents {
 public:
  // Scalars "step/loss", "layer_3/matched_share" and "source_NAME/loss", and the histogram "layer_3/match_lengths".
  std::string step(double wall_time, const StepMetrics& metrics);
  // Scalars "evaluation/ce"; without its samples.
  std::string evaluation(double wall_time, const EvaluationMetrics& metrics);

 private:
  class Summary;
  std::set<std::string> described_;  // tags
};

// What an event says of its place. Its step is 0 where it names none.
struct EventPlace {
  int64_t step = 0;
  bool is_evaluation = false;  // counted by the steps done before it
};
// Nothing where the bytes are no event.
std::optional<EventPlace> place_of(std::string_view event);

}  // namespace rosa::training::tensorboard
