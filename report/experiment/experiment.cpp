#include "report/experiment/experiment.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"

namespace rosa::report {
namespace {

namespace fs = std::filesystem;
using base::DataError;
using base::require;

using Fields = base::OrderedJsonFields;  // settings are shown in the order of the file

constexpr int64_t kMaxFileBytes = int64_t{1} << 24;
// What a page can hold; the files could ask for any number.
constexpr std::size_t kMaxArms = 1000, kMaxRuns = 10'000, kMaxLabelBytes = 200;
// A figure beyond it is as good as one that is not finite, which JSON writes as null.
constexpr double kLargestFigure = 1e30;

std::optional<double> figure(const Fields& fields, const char* key) {
  const std::optional<double> value = fields.number(key);
  return value && std::abs(*value) <= kLargestFigure ? value : std::nullopt;
}

double required_figure(const Fields& fields, const char* key) {
  if (!fields.has(key)) fields.fail(key, "is missing");
  const std::optional<double> value = figure(fields, key);
  if (!value) fields.fail(key, base::concat("is beyond ", kLargestFigure));
  return *value;
}

// Name and value of each number, text or boolean of an object.
std::vector<std::pair<std::string, std::string>> plain_values(const Fields& fields, const char* key) {
  std::vector<std::pair<std::string, std::string>> found;
  const std::optional<Fields> object = fields.object(key);
  if (!object) return found;
  for (const auto& [name, inner] : object->value().items()) {
    if (inner.is_string()) found.emplace_back(name, inner.get<std::string>());
    if (inner.is_number() || inner.is_boolean()) found.emplace_back(name, inner.dump());
  }
  return found;
}

void read_json_file(const fs::path& path, const std::function<void(const Fields&)>& use) {
  const auto value = base::read_json<DataError, nlohmann::ordered_json>(path, kMaxFileBytes);
  use(Fields(value, path.string()));
}

void read_json_lines(const fs::path& path, const std::function<void(const Fields&)>& use) {
  base::read_json_lines<DataError, nlohmann::ordered_json>(
      path, [&](const Fields& fields, std::string_view) { use(fields); });
}

// The name of a run's folder.
std::string folder_name(const std::string& label, int64_t seed) {
  std::string name = label;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '/' || c == ' '; }, '_');
  return name + "-seed" + std::to_string(seed);
}

Arm read_arm(const Fields& fields) {
  Arm arm;
  arm.label = fields.required_text("label");
  // It is part of a folder's name.
  if (arm.label.size() > kMaxLabelBytes) {
    fields.fail("label", base::concat("has ", arm.label.size(), " bytes, expected at most ", kMaxLabelBytes));
  }
  arm.estimator = fields.required_text("estimator");
  arm.scope = fields.text("scope").value_or("");
  arm.note = fields.text("note").value_or("");
  arm.num_samples = fields.integer("num_samples").value_or(1);
  arm.evaluations = figure(fields, "evaluations");
  return arm;
}

void read_description(const fs::path& path, Experiment& experiment) {
  read_json_file(path, [&](const Fields& fields) {
    experiment.task = fields.required_text("task");
    experiment.title = fields.text("title").value_or(experiment.task);
    experiment.description = fields.text("description").value_or("");
    experiment.command = fields.text("command").value_or("");
    experiment.machine = fields.text("machine").value_or("");
    experiment.commit = fields.text("commit").value_or("");
    experiment.date = fields.text("date").value_or("");
    experiment.world_size = figure(fields, "world_size");
    experiment.settings = plain_values(fields, "settings");
    experiment.seeds = fields.integers("seeds");
    for (const Fields& arm : fields.objects("arms")) experiment.arms.push_back(read_arm(arm));
  });
  const std::size_t num_arms = experiment.arms.size(), num_seeds = experiment.seeds.size();
  require<DataError>(num_arms <= kMaxArms && (num_arms == 0 || num_seeds <= kMaxRuns / num_arms), path.string(), ": ",
                     num_arms, " arms with ", num_seeds, " seeds each; expected at most ", kMaxArms, " arms and ",
                     kMaxRuns, " runs");
  std::set<std::string> names;
  for (const Arm& arm : experiment.arms) {
    require<DataError>(names.insert(folder_name(arm.label, 0)).second, path.string(), ": two arms are named '",
                       base::excerpt(arm.label), "' or share its folder");
  }
  std::set<int64_t> seeds;
  for (const int64_t seed : experiment.seeds) {
    require<DataError>(seeds.insert(seed).second, path.string(), ": the seed ", seed, " is there twice");
  }
}

Score read_score(const Fields& fields) {
  // result.json says "steps", a line of metrics.jsonl "step".
  const std::optional<double> steps = figure(fields, "steps");
  return {steps ? steps : figure(fields, "step"),
          figure(fields, "seconds"),
          figure(fields, "loss"),
          figure(fields, "accuracy"),
          figure(fields, "zeroed_loss"),
          figure(fields, "zeroed_accuracy")};
}

// The values of a map by step, in its order.
template <class Value>
std::vector<Value> in_order(std::map<double, Value> by_step) {
  std::vector<Value> values;
  for (auto& [step, value] : by_step) values.push_back(std::move(value));
  return values;
}

void read_metrics(const fs::path& path, Run& run) {
  std::map<double, LossPoint> losses;
  std::map<double, Score> evaluations;
  std::map<double, Correlation> linearisation;
  read_json_lines(path, [&](const Fields& fields) {
    const std::string kind = fields.text("kind").value_or("");
    if (kind == "step") {
      const double step = required_figure(fields, "step");
      losses[step] = {step, required_figure(fields, "seconds"), figure(fields, "loss")};
    } else if (kind == "evaluation") {
      evaluations[required_figure(fields, "step")] = read_score(fields);
    } else if (kind == "linearisation") {
      const double step = required_figure(fields, "step");
      if (const auto value = figure(fields, "correlation")) linearisation[step] = {step, *value};
    }
  });
  run.losses = in_order(std::move(losses));
  run.evaluations = in_order(std::move(evaluations));
  run.linearisation = in_order(std::move(linearisation));
}

Result read_result(const Fields& fields) {
  Result result;
  result.steps_per_second = figure(fields, "steps_per_second");
  if (const auto step_ms = fields.object("step_ms")) {
    result.step_ms_mean = figure(*step_ms, "mean");
    result.step_ms_p50 = figure(*step_ms, "p50");
    result.step_ms_p90 = figure(*step_ms, "p90");
  }
  if (const auto score = fields.object("equal_steps")) result.equal_steps = read_score(*score);
  if (const auto score = fields.object("equal_time")) result.equal_time = read_score(*score);
  result.best_loss = figure(fields, "best_loss");
  result.final_loss = figure(fields, "final_loss");
  result.rosa_only_accuracy = figure(fields, "rosa_only_accuracy");
  for (const Fields& point : fields.objects("by_distance")) {
    const auto accuracy = figure(point, "accuracy");
    if (accuracy) result.by_distance.push_back({required_figure(point, "distance"), *accuracy});
  }
  std::sort(result.by_distance.begin(), result.by_distance.end(),
            [](const auto& a, const auto& b) { return a.distance < b.distance; });
  for (const Fields& line : fields.objects("lines")) {
    result.lines.push_back(
        {line.required_text("gold"), line.text("rosa").value_or(""), line.text("model").value_or("")});
  }
  return result;
}

Run read_run(const fs::path& folder, std::size_t arm, int64_t seed) {
  Run run;
  run.arm = arm;
  run.seed = seed;
  if (fs::exists(folder / "metrics.jsonl")) read_metrics(folder / "metrics.jsonl", run);
  if (fs::exists(folder / "result.json")) {
    read_json_file(folder / "result.json", [&](const Fields& fields) { run.result = read_result(fields); });
  }
  return run;
}

// Appends, or takes the place of the study that was kept under the same key.
template <class Key, class Study>
void keep(std::vector<Study>& studies, std::map<Key, std::size_t>& places, const Key& key, const Study& study) {
  const auto [place, is_new] = places.emplace(key, studies.size());
  if (is_new) {
    studies.push_back(study);
  } else {
    studies[place->second] = study;
  }
}

VarianceStudy read_variance(const Fields& fields) {
  VarianceStudy study;
  study.label = fields.required_text("label");
  study.estimator = fields.required_text("estimator");
  study.scope = fields.text("scope").value_or("");
  study.step = figure(fields, "step").value_or(0);
  study.num_samples = figure(fields, "num_samples").value_or(1);
  study.evaluations = figure(fields, "evaluations");
  study.microseconds = figure(fields, "microseconds");
  study.variance = figure(fields, "variance");
  study.bias = figure(fields, "bias");
  study.cosine = figure(fields, "cosine");
  return study;
}

TimingStudy read_timing(const Fields& fields) {
  return {fields.required_text("kernel"), fields.text("family").value_or(""), required_figure(fields, "length"),
          figure(fields, "bits").value_or(1), required_figure(fields, "microseconds")};
}

void read_studies(const fs::path& path, Experiment& experiment) {
  std::map<std::tuple<double, std::string, double>, std::size_t> variance;
  std::map<std::tuple<std::string, std::string, double, double>, std::size_t> timing;
  read_json_lines(path, [&](const Fields& fields) {
    const std::string kind = fields.text("kind").value_or("");
    if (kind == "variance") {
      const VarianceStudy study = read_variance(fields);
      keep(experiment.variance, variance, std::tuple(study.step, study.label, study.num_samples), study);
    } else if (kind == "timing") {
      const TimingStudy study = read_timing(fields);
      keep(experiment.timing, timing, std::tuple(study.kernel, study.family, study.bits, study.length), study);
    }
  });
}

}  // namespace

double Run::last_step() const {
  double last = 0;
  if (!losses.empty()) last = losses.back().step;
  if (!evaluations.empty()) last = std::max(last, evaluations.back().steps.value_or(0));
  return last;
}

std::string Experiment::setting(const std::string& name) const {
  for (const auto& [key, value] : settings) {
    if (key == name) return value;
  }
  return "";
}

std::vector<const Run*> Experiment::runs_of(std::size_t arm) const {
  std::vector<const Run*> found;
  for (const Run& run : runs) {
    if (run.arm == arm) found.push_back(&run);
  }
  return found;
}

const Arm* Experiment::control() const {
  const auto found = std::find_if(arms.begin(), arms.end(), [](const Arm& arm) { return arm.is_control(); });
  return found == arms.end() ? nullptr : &*found;
}

Experiment read_experiment(const fs::path& folder) {
  const fs::path description = folder / "experiment.json";
  require<DataError>(fs::exists(description), "'", folder.string(), "' holds no experiment.json; expected ",
                     "a folder that `rosa experiment` made");
  Experiment experiment;
  read_description(description, experiment);
  for (std::size_t arm = 0; arm < experiment.arms.size(); ++arm) {
    for (const int64_t seed : experiment.seeds) {
      experiment.runs.push_back(read_run(folder / folder_name(experiment.arms[arm].label, seed), arm, seed));
    }
  }
  if (fs::exists(folder / "studies.jsonl")) read_studies(folder / "studies.jsonl", experiment);
  return experiment;
}

}  // namespace rosa::report
