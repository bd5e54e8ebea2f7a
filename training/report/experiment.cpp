#include "training/report/experiment.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "training/report/json_source.h"

namespace rosa::training::report {
namespace {

namespace fs = std::filesystem;
using base::DataError;
using base::require;

// The name of a run's folder.
std::string folder_name(const std::string& label, int64_t seed) {
  std::string name = label;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '/' || c == ' '; }, '_');
  return name + "-seed" + std::to_string(seed);
}

Arm read_arm(const JsonFields& fields) {
  Arm arm;
  arm.label = fields.required_text("label");
  arm.estimator = fields.required_text("estimator");
  arm.scope = fields.text("scope").value_or("");
  arm.note = fields.text("note").value_or("");
  arm.num_samples = static_cast<int64_t>(fields.number("num_samples").value_or(1));
  arm.evaluations = fields.number("evaluations");
  return arm;
}

void read_description(const fs::path& path, Experiment& experiment) {
  read_json_file(path, [&](const JsonFields& fields) {
    experiment.task = fields.required_text("task");
    experiment.title = fields.text("title").value_or(experiment.task);
    experiment.description = fields.text("description").value_or("");
    experiment.command = fields.text("command").value_or("");
    experiment.machine = fields.text("machine").value_or("");
    experiment.commit = fields.text("commit").value_or("");
    experiment.date = fields.text("date").value_or("");
    experiment.world_size = fields.number("world_size");
    experiment.settings = fields.plain_values("settings");
    experiment.seeds = fields.integers("seeds");
    for (const JsonFields& arm : fields.objects("arms")) experiment.arms.push_back(read_arm(arm));
  });
  std::set<std::string> names;
  for (const Arm& arm : experiment.arms) {
    require<DataError>(names.insert(folder_name(arm.label, 0)).second, path.string(), ": two arms are named '",
                       arm.label, "' or share its folder");
  }
}

Score read_score(const JsonFields& fields) {
  // result.json says "steps", a line of metrics.jsonl "step".
  const std::optional<double> steps = fields.number("steps");
  return {steps ? steps : fields.number("step"),
          fields.number("seconds"),
          fields.number("loss"),
          fields.number("accuracy"),
          fields.number("zeroed_loss"),
          fields.number("zeroed_accuracy")};
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
  read_json_lines(path, [&](const JsonFields& fields) {
    const std::string kind = fields.text("kind").value_or("");
    if (kind == "step") {
      const double step = fields.required_number("step");
      losses[step] = {step, fields.required_number("seconds"), fields.number("loss")};
    } else if (kind == "evaluation") {
      evaluations[fields.required_number("step")] = read_score(fields);
    } else if (kind == "linearisation") {
      const double step = fields.required_number("step");
      if (const auto value = fields.number("correlation")) linearisation[step] = {step, *value};
    }
  });
  run.losses = in_order(std::move(losses));
  run.evaluations = in_order(std::move(evaluations));
  run.linearisation = in_order(std::move(linearisation));
}

Result read_result(const JsonFields& fields) {
  Result result;
  result.steps_per_second = fields.number("steps_per_second");
  if (const auto step_ms = fields.object("step_ms")) {
    result.step_ms_mean = step_ms->number("mean");
    result.step_ms_p50 = step_ms->number("p50");
    result.step_ms_p90 = step_ms->number("p90");
  }
  if (const auto score = fields.object("equal_steps")) result.equal_steps = read_score(*score);
  if (const auto score = fields.object("equal_time")) result.equal_time = read_score(*score);
  result.best_loss = fields.number("best_loss");
  result.final_loss = fields.number("final_loss");
  result.rosa_only_accuracy = fields.number("rosa_only_accuracy");
  for (const JsonFields& point : fields.objects("by_distance")) {
    const auto accuracy = point.number("accuracy");
    if (accuracy) result.by_distance.push_back({point.required_number("distance"), *accuracy});
  }
  std::sort(result.by_distance.begin(), result.by_distance.end(),
            [](const auto& a, const auto& b) { return a.distance < b.distance; });
  for (const JsonFields& line : fields.objects("lines")) {
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
    read_json_file(folder / "result.json", [&](const JsonFields& fields) { run.result = read_result(fields); });
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

VarianceStudy read_variance(const JsonFields& fields) {
  VarianceStudy study;
  study.label = fields.required_text("label");
  study.estimator = fields.required_text("estimator");
  study.scope = fields.text("scope").value_or("");
  study.step = fields.number("step").value_or(0);
  study.num_samples = fields.number("num_samples").value_or(1);
  study.evaluations = fields.number("evaluations");
  study.microseconds = fields.number("microseconds");
  study.variance = fields.number("variance");
  study.bias = fields.number("bias");
  study.cosine = fields.number("cosine");
  return study;
}

TimingStudy read_timing(const JsonFields& fields) {
  return {fields.required_text("kernel"), fields.text("family").value_or(""), fields.required_number("length"),
          fields.number("bits").value_or(1), fields.required_number("microseconds")};
}

void read_studies(const fs::path& path, Experiment& experiment) {
  std::map<std::tuple<double, std::string, double>, std::size_t> variance;
  std::map<std::tuple<std::string, std::string, double, double>, std::size_t> timing;
  read_json_lines(path, [&](const JsonFields& fields) {
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
  require<DataError>(fs::is_regular_file(description), "'", folder.string(), "' holds no experiment.json; expected ",
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

}  // namespace rosa::training::report
