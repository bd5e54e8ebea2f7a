#include "training/experiment/experiment_config.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "rosa/kernels/channel_flips.h"
#include "rosa/operator/qkv_estimator.h"

namespace rosa::training {

using base::Role;

namespace {

const std::vector<std::pair<std::string, ExperimentTaskKind>> kTasks = {{"counting", ExperimentTaskKind::counting},
                                                                        {"gate_only", ExperimentTaskKind::gate_only},
                                                                        {"recall", ExperimentTaskKind::recall},
                                                                        {"timing", ExperimentTaskKind::timing}};

}  // namespace

void describe(base::FieldVisitor& visitor, ExperimentSection& config) {
  visitor.path("folder", config.folder, Role::place,
               "where runs and results go; what is finished there is not run again");
  visitor.choice(
      "task", config.task, Role::recipe, kTasks,
      "counting: FastRosa's counting numbers; gate_only: the same data, nothing but the gate; recall: values "
      "by keys, for queries, keys and values; timing: the time of the kernels, no training");
  visitor.field("title", config.title, Role::free, "heading of the report");
  visitor.field("description", config.description, Role::free, "what the report says below the heading");
  visitor.field(
      "estimators", config.estimators, Role::free,
      "what is compared. An entry is an estimator's name, and the fields in which it differs from the section gate "
      "(recall: adapter), as in 'disarm scope=joint num_samples=4'");
  visitor.field("seeds", config.seeds, Role::free,
                "every estimator has one run for each seed; with one seed all have the same data and start weights",
                {0});
  visitor.field("num_steps", config.num_steps, Role::recipe, "the first budget: optimiser steps", {1, base::kMaxSteps});
  visitor.field(
      "seconds", config.seconds, Role::recipe,
      "the second budget: training time that is equal for all (a run goes on until it has used up both); 0: none",
      {0, 1e6});
  visitor.field("evaluate_every", config.evaluate_every, Role::recipe, "steps between evaluations",
                {1, base::kMaxSteps});
  visitor.field("num_evaluation_samples", config.num_evaluation_samples, Role::recipe,
                "held-out sequences of an evaluation", {1, 1 << 20});
  visitor.field("log_every", config.log_every, Role::place, "steps between lines of metrics.jsonl",
                {1, base::kMaxSteps});
  visitor.field("save_seconds", config.save_seconds, Role::place,
                "seconds between checkpoints of a run; a stop always saves", {0, 1e6});
}

void describe(base::FieldVisitor& visitor, ExperimentDataSection& config) {
  visitor.field("num_samples", config.num_samples, Role::recipe, "sequences of a global batch", {1, 1 << 16});
  visitor.field("micro_batches", config.micro_batches, Role::recipe,
                "micro-batches of one global batch, shared out over the ranks", {1, 1 << 16});
  visitor.field("length", config.length, Role::recipe, "tokens of a sequence", {2, 1 << 16});
  visitor.field("channels", config.channels, Role::recipe, "width of the model; gate tasks: bits a position",
                {1, 1 << 16});
  visitor.field("embedding_scale", config.embedding_scale, Role::recipe,
                "gate tasks: the retrieved embeddings start at -scale and +scale", {0, 1e3});
  visitor.field("num_keys", config.num_keys, Role::recipe,
                "recall: keys, each with one form where it is written and one to ask", {1, 1 << 20});
  visitor.field("num_values", config.num_values, Role::recipe, "recall: values", {2, 1 << 20});
  visitor.field("num_pairs", config.num_pairs, Role::recipe, "recall: pairs written in the first half of a sequence",
                {1, 1 << 16});
  visitor.field("num_queries", config.num_queries, Role::recipe, "recall: questions in the second half", {1, 1 << 16});
}

void describe(base::FieldVisitor& visitor, StudySection& config) {
  visitor.field(
      "arm", config.arm, Role::recipe,
      "entry of experiment.estimators in whose first run the gradients of all entries are studied; empty: no study");
  visitor.field("steps", config.steps, Role::recipe, "steps before which the gradients are studied",
                {0, base::kMaxSteps});
  visitor.field("num_draws", config.num_draws, Role::recipe, "gradients that are drawn of each estimator",
                {2, 1 << 16});
  visitor.field("num_rows", config.num_rows, Role::recipe, "sequences of the batch at which the gradients are taken",
                {1, 1 << 16});
  visitor.field("reference_draws", config.reference_draws, Role::recipe,
                "draws of leg, which is unbiased: bias is measured against their mean", {2, 1 << 20});
  visitor.field("num_samples", config.num_samples, Role::recipe,
                "numbers of samples at which the sampled estimators are studied, for variance against samples",
                {1, 1024});
  visitor.field("num_flips", config.num_flips, Role::recipe,
                "flips tried for the correlation of linearised and true loss change", {0, 1 << 20});
}

void describe(base::FieldVisitor& visitor, TimingSection& config) {
  visitor.field("lengths", config.lengths, Role::recipe, "lengths of the sequences", {2, 1 << 16});
  visitor.field("seconds", config.seconds, Role::recipe, "seconds that each figure is measured for", {1e-3, 60});
}

void describe(base::FieldVisitor& visitor, ExperimentConfig& config) {
  visitor.section("experiment", config.experiment, "what is compared, and for how long");
  visitor.section("data", config.data, "sequences and width of the model");
  visitor.section("gate", config.gate, "estimator of the 1-bit gate: what the estimators have in common");
  visitor.section("adapter", config.adapter, "the adapter of the recall task");
  visitor.section("study", config.study, "variance and bias of the gradients");
  visitor.section("timing", config.timing, "the task timing");
  visitor.section("optimizer", config.optimizer, "AdamW");
  visitor.section("learning_rate", config.learning_rate, "learning rate");
  visitor.section("parallel", config.parallel, "how ranks sum gradients");
  visitor.section("watchdog", config.watchdog, "ranks that hang or freeze");
  visitor.section("compute", config.compute, "threads and device");
}

std::string ExperimentArm::scope() const {
  static const std::set<std::string> sampled = {"disarm", "rloo", "arms", "rodeo", "double_cv"};
  if (!sampled.contains(gate.name)) return "";
  switch (gate.scope) {
    case RewardScope::joint:
      return "joint";
    case RewardScope::channel:
      return "channel";
    case RewardScope::causal:
      return "causal";
  }
  return "";
}

int64_t ExperimentArm::num_samples() const { return scope().empty() && gate.name != "leg" ? 1 : gate.num_samples; }

namespace {

// Products that memory and 64 bits must hold.
void check_sizes(base::ConfigProblems& problems, const ExperimentConfig& config) {
  constexpr double kMaxRuns = 10000, kMaxBatchElements = 1 << 28;
  const double num_runs =
      static_cast<double>(config.experiment.estimators.size()) * static_cast<double>(config.experiment.seeds.size());
  problems.require(num_runs <= kMaxRuns, {"experiment.seeds", "experiment.estimators"}, "estimators and seeds make ",
                   num_runs, " runs; expected at most ", kMaxRuns);
  const ExperimentDataSection& data = config.data;
  const double elements =
      static_cast<double>(data.num_samples) * static_cast<double>(data.length) * static_cast<double>(data.channels);
  problems.require(elements <= kMaxBatchElements, {"data.num_samples", "data.length", "data.channels"},
                   "num_samples, length and channels make a batch of ", elements, " numbers; expected at most ",
                   kMaxBatchElements);
  problems.require(data.num_samples % data.micro_batches == 0, {"data.micro_batches", "data.num_samples"}, "is ",
                   data.micro_batches, ", which does not divide data.num_samples, ", data.num_samples);
}

void check_study(base::ConfigProblems& problems, const ExperimentConfig& config, const std::set<std::string>& labels) {
  const StudySection& study = config.study;
  if (study.arm.empty()) return;
  problems.require(labels.contains(study.arm), {"study.arm", "experiment.estimators"}, "is '", base::excerpt(study.arm),
                   "', which is not one of experiment.estimators");
  problems.require(is_gate_task(config.experiment.task), {"study.arm", "experiment.task"},
                   "gradients are studied in the tasks counting and gate_only only");
  problems.require(study.num_rows <= config.data.num_samples, {"study.num_rows", "data.num_samples"}, "is ",
                   study.num_rows, ", above data.num_samples, which is ", config.data.num_samples);
}

void check_recall(base::ConfigProblems& problems, const ExperimentDataSection& data) {
  problems.require(data.num_pairs <= data.num_keys, {"data.num_pairs", "data.num_keys"}, "is ", data.num_pairs,
                   ", above data.num_keys, which is ", data.num_keys);
  problems.require(4 * data.num_pairs <= data.length && 2 * data.num_queries <= data.length,
                   {"data.length", "data.num_pairs", "data.num_queries"}, "is ", data.length,
                   "; expected at least 4 data.num_pairs and 2 data.num_queries");
}

// An arm that the list of estimators names, under that key.
void check_arm(base::ConfigProblems& problems, const ExperimentConfig& config, const ExperimentArm& arm) {
  const auto add = [&](const std::string& text) {
    problems.add({"experiment.estimators"}, "'", base::excerpt(arm.label), "': ", text);
  };
  if (is_gate_task(config.experiment.task)) {
    try {
      make_gate_estimator(arm.gate);
    } catch (const base::ConfigError& error) {
      add(error.what());
    }
    return;
  }
  base::ConfigProblems own;
  own.section("adapter", arm.adapter);
  for (const base::ConfigProblem& problem : own.all()) add(problem.keys.front() + ": " + problem.text);
  const int64_t longest = find_qkv_estimator(arm.adapter.estimator).max_length();
  if (config.data.length > longest)
    add(base::concat("takes at most ", longest, " positions; data.length is ", config.data.length));
}

}  // namespace

void check(base::ConfigProblems& problems, const ExperimentConfig& config, const std::vector<ExperimentArm>& arms) {
  const ExperimentTaskKind task = config.experiment.task;
  problems.require(!config.experiment.folder.empty(), {"experiment.folder"}, "is empty: name where the results go");
  problems.require(!config.experiment.seeds.empty(), {"experiment.seeds"}, "is empty: give at least one");
  std::set<int64_t> seeds;
  for (const int64_t seed : config.experiment.seeds) {
    problems.require(seeds.insert(seed).second, {"experiment.seeds"}, "holds ", seed, " twice");
  }
  problems.require(config.compute.device != "cuda", {"compute.device"}, "is cuda; experiments run on the CPU");
  check_sizes(problems, config);
  problems.section("optimizer", config.optimizer);
  // With a budget of time a run may go on beyond its steps.
  const int64_t num_steps = config.experiment.seconds > 0 ? 4 * base::kMaxSteps : config.experiment.num_steps;
  problems.section("learning_rate", config.learning_rate, num_steps, base::Range<double>{0.0, 10.0});
  problems.section("parallel", config.parallel, /*never_on_gpu=*/true);
  problems.require(config.parallel.shard_base == "none", {"parallel.shard_base"}, "is ", config.parallel.shard_base,
                   ", but an experiment has no base model whose weights could be shared out; remove it");
  problems.section("watchdog", config.watchdog);
  std::set<std::string> labels;
  for (const ExperimentArm& arm : arms) {
    problems.require(labels.insert(arm.label).second, {"experiment.estimators"}, "holds '", base::excerpt(arm.label),
                     "' twice");
    check_arm(problems, config, arm);
  }
  check_study(problems, config, labels);
  if (task == ExperimentTaskKind::recall) check_recall(problems, config.data);
  problems.require(task == ExperimentTaskKind::timing || !config.experiment.estimators.empty() || !arms.empty(),
                   {"experiment.estimators"}, "is empty: name what is compared");
  const bool is_short = config.data.length <= kernels::kMaxChannelLength;
  problems.require(!is_gate_task(task) || is_short, {"data.length"}, "is ", config.data.length,
                   ", but the gate takes at most ", kernels::kMaxChannelLength, " positions");
}

const char* name_of(ExperimentTaskKind task) {
  for (const auto& [name, value] : kTasks) {
    if (value == task) return name.c_str();
  }
  return "";
}

bool is_gate_task(ExperimentTaskKind task) {
  return task == ExperimentTaskKind::counting || task == ExperimentTaskKind::gate_only;
}

}  // namespace rosa::training
