#include "training/experiment/run_progress.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/json.h"

namespace rosa::training {
namespace {

constexpr const char* kStepTimes = "step_ms";

// One text holds everything but the times of the steps.
std::string text_of(const RunProgress& progress) {
  nlohmann::ordered_json json = {
      {"num_steps", progress.num_steps}, {"seconds", progress.seconds}, {"best_loss", progress.best_loss}};
  if (progress.equal_steps) json["equal_steps"] = to_json(*progress.equal_steps);
  if (progress.equal_time) json["equal_time"] = to_json(*progress.equal_time);
  return json.dump();
}

std::optional<ScoredPlace> place_from(const base::JsonFields& progress, const char* key) {
  const std::optional<base::JsonFields> place = progress.object(key);
  if (!place) return std::nullopt;
  return ScoredPlace{.num_steps = place->required_integer("steps", 0),
                     .seconds = place->required_number("seconds"),
                     .score = {place->required_number("loss"), place->required_number("accuracy")},
                     .zeroed = {place->required_number("zeroed_loss"), place->required_number("zeroed_accuracy")}};
}

}  // namespace

nlohmann::ordered_json to_json(const ScoredPlace& place) {
  return {{"steps", place.num_steps},         {"seconds", place.seconds},
          {"loss", place.score.loss},         {"accuracy", place.score.accuracy},
          {"zeroed_loss", place.zeroed.loss}, {"zeroed_accuracy", place.zeroed.accuracy}};
}

nlohmann::ordered_json summary_json(std::vector<double> values) {
  base::require(!values.empty(), "summary_json: no values");
  std::sort(values.begin(), values.end());
  const auto at_share = [&](double share) {
    return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
  };
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  return {{"mean", mean}, {"p50", at_share(0.5)}, {"p90", at_share(0.9)}};
}

base::StateDict RunProgress::save_state() const {
  base::StateDict state;
  state.values["progress"] = text_of(*this);
  base::StateTensor times{"F64", {static_cast<int64_t>(step_ms.size())}, {}};
  times.bytes.resize(step_ms.size() * sizeof(double));
  if (!step_ms.empty()) std::memcpy(times.bytes.data(), step_ms.data(), times.bytes.size());
  state.tensors[kStepTimes] = std::move(times);
  return state;
}

void RunProgress::load_state(const base::StateDict& state) {
  const auto text = state.values.find("progress");
  const auto times = state.tensors.find(kStepTimes);
  base::require<base::CheckpointError>(text != state.values.end() &&
                                           std::holds_alternative<std::string>(text->second) &&
                                           times != state.tensors.end() && times->second.dtype == "F64",
                                       "the checkpoint holds no progress of an experiment's run");
  const std::string place = "an experiment's progress";
  const auto json = base::parse_json<base::CheckpointError>(std::get<std::string>(text->second), place);
  const base::JsonFields progress(json, place, base::throw_json_error<base::CheckpointError>);
  num_steps = progress.required_integer("num_steps", 0);
  seconds = progress.required_number("seconds");
  best_loss = progress.required_number("best_loss");
  equal_steps = place_from(progress, "equal_steps");
  equal_time = place_from(progress, "equal_time");
  step_ms.resize(times->second.bytes.size() / sizeof(double));
  if (!step_ms.empty()) std::memcpy(step_ms.data(), times->second.bytes.data(), step_ms.size() * sizeof(double));
}

}  // namespace rosa::training
