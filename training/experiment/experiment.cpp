#include "training/experiment/experiment.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>

#include "base/activity.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/printable.h"
#include "parallel/replicas.h"
#include "rosa/operator/qkv_estimator.h"
#include "training/experiment/experiment_run.h"
#include "training/experiment/gate_study.h"
#include "training/experiment/gate_task.h"
#include "training/experiment/kernel_timing.h"
#include "training/experiment/recall_task.h"
#include "training/field_values.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "config.yaml";
constexpr const char* kExperimentFile = "experiment.json";
constexpr const char* kDecidingSettings = "deciding_settings";
constexpr int64_t kMaxFileBytes = int64_t{64} << 20;

// What this program wrote itself; empty where it isn't there yet.
std::string read_text(const fs::path& path) {
  return fs::exists(path) ? base::read_file(path, kMaxFileBytes) : std::string();
}

std::string date_today() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[16];
  std::strftime(text, sizeof(text), "%Y-%m-%d", &local);
  return text;
}

using Settings = std::map<std::string, std::string>;

// What decides the bits of the runs: the keys of the recipe.
Settings deciding(Settings settings) {
  ExperimentConfig config;
  const Settings recipe =
      field_values([&config](base::FieldVisitor& visitor) { describe(visitor, config); }, {base::Role::recipe});
  std::erase_if(settings, [&recipe](const auto& setting) { return !recipe.contains(setting.first); });
  // As the file holds them: a path may be no UTF-8.
  for (auto& [key, value] : settings) value = base::as_utf8(value);
  return settings;
}

Settings read_deciding(const fs::path& path) {
  try {
    const auto json = base::read_json(path, kMaxFileBytes);
    const base::JsonFields kept = base::JsonFields(json, path.string()).required_object(kDecidingSettings);
    Settings settings;
    for (const auto& [key, value] : kept.value().items()) settings[key] = kept.required_text(key.c_str());
    return deciding(std::move(settings));  // an earlier version of the program may have kept others too
  } catch (const base::DataError& error) {
    throw base::DataError(base::concat("damaged or of another version of the program: ", error.what(),
                                       "; choose another experiment.folder"));
  }
}

void require_same_experiment(const fs::path& folder, const Settings& now) {
  const fs::path path = folder / kExperimentFile;
  if (!fs::exists(path)) return;
  const Settings before = read_deciding(path);
  std::string changes;
  const auto compare = [&](const Settings& mine, const Settings& other, const std::string& where) {
    for (const auto& [key, value] : mine) {
      const auto found = other.find(key);
      if (found == other.end() || found->second != value)
        changes += base::concat(changes.empty() ? "" : "; ", key, ": ", value, where);
    }
  };
  compare(now, before, "");
  compare(before, now, " (in " + path.string() + ")");
  base::require<base::ConfigError>(changes.empty(), "experiment.folder: ", folder.string(),
                                   " holds the runs of an experiment with other settings; choose another folder, or "
                                   "remove it to start anew. What differs: ",
                                   changes);
}

// Operator evaluations of one gradient, beside the forward.
double evaluations_of(const ExperimentConfig& config, const ExperimentArm& arm) {
  if (is_gate_task(config.experiment.task)) return make_gate_estimator(arm.gate)->evaluations();
  const models::AdapterConfig& adapter = arm.adapter;
  const int64_t heads = adapter.num_heads > 0 ? adapter.num_heads : config.data.channels / adapter.query_key_bits;
  const at::Tensor query = at::empty({1, heads, config.data.length, adapter.query_key_bits});
  const at::Tensor value = at::empty({1, heads, config.data.length, adapter.value_bits});
  return static_cast<double>(find_qkv_estimator(arm.estimator).num_evaluations({query, query, value, {}, {}}));
}

nlohmann::ordered_json describe_experiment(const ExperimentConfig& config, const std::vector<ExperimentArm>& arms,
                                           const ExperimentContext& context) {
  const ExperimentSection& experiment = config.experiment;
  nlohmann::ordered_json json = {{"task", name_of(experiment.task)},
                                 {"title", base::as_utf8(experiment.title)},
                                 {"description", base::as_utf8(experiment.description)},
                                 {"command", base::as_utf8(context.command)},
                                 {"machine", base::as_utf8(context.machine)},
                                 {"commit", context.commit},
                                 {"world_size", context.communicator.world_size()},
                                 {"date", date_today()}};
  json["settings"] = {{"num_steps", experiment.num_steps},        {"seconds", experiment.seconds},
                      {"sequences", config.data.num_samples},     {"length", config.data.length},
                      {"channels", config.data.channels},         {"learning_rate", config.learning_rate.start},
                      {"compute_threads", config.compute.threads}};
  json["arms"] = nlohmann::json::array();
  for (const ExperimentArm& arm : arms) {
    json["arms"].push_back({{"label", arm.label},
                            {"estimator", arm.estimator},
                            {"scope", arm.scope()},
                            {"num_samples", arm.num_samples()},
                            {"evaluations", evaluations_of(config, arm)}});
  }
  json["seeds"] = experiment.seeds;
  json[kDecidingSettings] = deciding(context.settings);
  return json;
}

class Experiment {
 public:
  Experiment(const ExperimentConfig& config, const std::vector<ExperimentArm>& arms, const ExperimentContext& context)
      : config_(config), arms_(arms), context_(context), folder_(config.experiment.folder) {}

  RunOutcome run() {
    prepare_folder();
    if (config_.experiment.task == ExperimentTaskKind::timing) {
      return time_kernels(config_.timing, folder_, context_.communicator, context_.stop_requested)
                 ? RunOutcome::finished
                 : RunOutcome::stopped;
    }
    // All arms of a seed before the next seed: what is there early is a comparison already.
    for (const int64_t seed : config_.experiment.seeds) {
      for (const ExperimentArm& arm : arms_) {
        if (!run_arm(arm, seed)) return RunOutcome::stopped;
      }
    }
    return RunOutcome::finished;
  }

 private:
  bool is_main_rank() const { return context_.communicator.rank() == 0; }

  void notice(const std::string& text) const {
    if (is_main_rank() && context_.on_notice) context_.on_notice(text);
  }

  // What rank 0 sees of the file system is what all go by.
  bool agreed(bool value) const {
    return context_.communicator
               .all_reduce_values(std::vector<int64_t>{is_main_rank() && value ? 1 : 0}, parallel::Reduction::max)
               .front() != 0;
  }

  void prepare_folder() {
    if (is_main_rank()) {
      fs::create_directories(folder_);
      require_same_experiment(folder_, deciding(context_.settings));
      // What this program writes here, killed before it was whole. Pages of `rosa report` are somebody else's.
      base::remove_temporaries(folder_, [](const std::string& name) { return !name.ends_with(".html"); });
      base::write_file_atomically(folder_ / kConfigFile, context_.resolved_config);
      base::write_file_atomically(folder_ / kExperimentFile,
                                  describe_experiment(config_, arms_, context_).dump(1) + "\n");
    }
    context_.communicator.barrier();
  }

  bool run_arm(const ExperimentArm& arm, int64_t seed) {
    const int64_t num_runs = static_cast<int64_t>(arms_.size() * config_.experiment.seeds.size());
    ++num_runs_begun_;
    const fs::path run_folder = folder_ / run_folder_name(arm, seed);
    if (agreed(fs::exists(run_folder / kResultFile))) return true;
    if (is_main_rank()) base::remove_temporaries(run_folder, [](const std::string&) { return true; });
    ExperimentRun run(config_, arm, seed, run_folder, context_.communicator, context_.executor);
    const bool is_studied = arm.label == config_.study.arm && seed == config_.experiment.seeds.front();
    if (!run.run(context_.stop_requested, is_studied ? study() : ExperimentRun::BeforeStep())) return false;
    const RunProgress& progress = run.progress();
    notice(base::concat("run ", num_runs_begun_, " of ", num_runs, ": '", arm.label, "', seed ", seed, ": loss ",
                        progress.equal_steps->score.loss, " after ", progress.equal_steps->num_steps, " steps, ",
                        progress.equal_steps->seconds, " s"));
    return true;
  }

  // A study is kept in a file of its own, so that it is made once, however often its step is done again.
  ExperimentRun::BeforeStep study() const {
    return [this](ExperimentTask& task, int64_t step) -> std::string {
      const std::vector<int64_t>& steps = config_.study.steps;
      if (std::find(steps.begin(), steps.end(), step) == steps.end()) return {};
      const base::PhaseScope phase(base::Phase::evaluation);
      if (!agreed(fs::exists(study_file(step)))) {
        if (is_main_rank()) write_study(task, step);
        context_.communicator.barrier();
      }
      return is_main_rank() ? linearisation_line(read_text(study_file(step))) : std::string();
    };
  }

  fs::path study_file(int64_t step) const { return folder_ / "studies" / base::concat("step_", step, ".jsonl"); }

  void write_study(ExperimentTask& task, int64_t step) const {
    fs::create_directories(study_file(step).parent_path());
    base::write_file_atomically(study_file(step),
                                study_gradients(config_, arms_, static_cast<GateTask&>(task), step, context_.executor));
    std::string all;
    for (const int64_t other : config_.study.steps) all += read_text(study_file(other));
    base::write_file_atomically(folder_ / "studies.jsonl", all);
    notice(base::concat("studied the gradients of all estimators before step ", step));
  }

  static std::string linearisation_line(const std::string& study) {
    std::istringstream lines(study);
    for (std::string line; std::getline(lines, line);) {
      if (line.find("\"linearisation\"") != std::string::npos) return line;
    }
    return {};
  }

  const ExperimentConfig& config_;
  const std::vector<ExperimentArm>& arms_;
  const ExperimentContext& context_;
  const fs::path folder_;
  int64_t num_runs_begun_ = 0;
};

}  // namespace

std::unique_ptr<ExperimentTask> make_experiment_task(const ExperimentConfig& config, const ExperimentArm& arm,
                                                     uint64_t seed, HostExecutor& executor) {
  if (is_gate_task(config.experiment.task)) return std::make_unique<GateTask>(config, arm, seed, executor);
  return std::make_unique<RecallTask>(config, arm, seed, executor);
}

std::string run_folder_name(const ExperimentArm& arm, int64_t seed) {
  std::string name = base::concat(arm.label, "-seed", seed);
  for (char& letter : name) {
    if (letter == '/' || letter == ' ') letter = '_';
  }
  return name;
}

RunOutcome run_experiment(const ExperimentConfig& config, const std::vector<ExperimentArm>& arms,
                          const ExperimentContext& context) {
  base::require_good(config, arms);
  const base::PhaseScope phase(base::Phase::starting);
  parallel::compare_across_ranks(context.communicator, "configuration", context.resolved_config);
  return Experiment(config, arms, context).run();
}

}  // namespace rosa::training
