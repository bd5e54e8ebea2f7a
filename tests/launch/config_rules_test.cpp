// Kind: everything wrong is said before anything starts. What no model or data could make right is reported together
// by the reader, with key and place; what needs files by the first second of a run; no number that a key takes ends a
// run in its middle. A new rule gets a line in one of the tables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "launch/experiment_config_file.h"
#include "launch/run_config_file.h"
#include "models/safetensors_weights.h"
#include "parallel/single_communicator.h"
#include "tests/support/temporary_folder.h"
#include "training/run.h"
#include "training/run_rules.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Overrides = std::vector<std::string>;

constexpr const char* kModel = ROSA_SOURCE_DIR "/tests/data/goldens/qwen3_tied";

class ConfigRules : public ::testing::Test {
 protected:
  // The smallest run of random phrases, and the smallest pretraining from scratch.
  std::string distill() const {
    return "run: {folder: " + (folder_ / "run").string() + ", seed: 3}\nmodel: {folder: " + kModel + R"(}
student: {sliding_window: 6}
adapter: {num_heads: 4, query_key_bits: 4, value_bits: 4, layers: [0, 2]}
data: {kind: phrases, sequence_length: 24, min_phrase_length: 3, max_phrase_length: 4}
train: {num_steps: 2, micro_batches: 2}
evaluation: {every: 2, num_sequences: 2}
checkpoint: {every: 2}
logging: {every: 1}
failures: {heartbeat_s: 0, on_non_finite: stop}
)";
  }
  std::string pretrain() const {
    return "run: {folder: " + (folder_ / "run").string() + R"(}
model: {from_scratch: true, architecture: {vocab_size: 65, hidden_size: 16, intermediate_size: 16, head_dim: 4}}
data: {kind: phrases, sequence_length: 24, min_phrase_length: 3, max_phrase_length: 4}
train: {num_steps: 2, trainable: ["*"]}
loss: {distill_alpha: 0}
evaluation: {every: 0}
failures: {heartbeat_s: 0, on_non_finite: stop}
)";
  }
  static std::string experiment() {
    return R"(experiment: {folder: r, task: gate_only, estimators: [disarm, leg], num_steps: 2}
data: {length: 16}
)";
  }

  LoadedConfig load(const std::string& yaml, const Overrides& overrides = {},
                    ConfigUse use = ConfigUse::distill) const {
    std::ofstream(folder_ / "run.yaml") << yaml;
    return load_run_config(folder_ / "run.yaml", overrides, use);
  }

  // What the reader says; empty where nothing is wrong.
  std::string errors_of(const std::string& yaml, const Overrides& overrides = {},
                        ConfigUse use = ConfigUse::distill) const {
    try {
      load(yaml, overrides, use);
      return "";
    } catch (const base::ConfigError& error) {
      return error.what();
    }
  }
  std::string experiment_errors(const Overrides& overrides, const std::string& yaml = experiment()) const {
    std::ofstream(folder_ / "experiment.yaml") << yaml;
    try {
      load_experiment_config(folder_ / "experiment.yaml", overrides);
      return "";
    } catch (const base::ConfigError& error) {
      return error.what();
    }
  }

  const testing::TemporaryFolder folder_;
};

// {overrides, what is said}
using Case = std::pair<Overrides, std::vector<std::string>>;

TEST_F(ConfigRules, WhatIsRightIsRight) {
  EXPECT_EQ(errors_of(distill()), "");
  EXPECT_EQ(errors_of(pretrain(), {}, ConfigUse::pretrain), "");
  EXPECT_EQ(experiment_errors({}), "");
  for (const auto& entry : fs::recursive_directory_iterator(ROSA_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    if (is_experiment_config(entry.path())) {
      EXPECT_NO_THROW(load_experiment_config(entry.path(), {})) << entry.path();
    } else {
      EXPECT_NO_THROW(load_run_config(entry.path(), {}, ConfigUse::any_training)) << entry.path();
    }
  }
}

// What runs have kept of before: the bias is true or false, and recipe rosa_soft is what rosa_soft_20251121 is now.
TEST_F(ConfigRules, ConfigurationsOfBeforeMeanWhatTheyMeant) {
  const auto bias_of = [&](const std::string& adapter) {
    return load(distill(), {"adapter.position_bias=" + adapter}).config.adapter.position_bias;
  };
  EXPECT_EQ(bias_of("true"), PositionBias::exp);
  EXPECT_EQ(bias_of("false"), PositionBias::none);
  EXPECT_EQ(bias_of("log"), PositionBias::log);
  const auto of_soft_rosa = load(distill(), {"adapter.position_bias=false", "adapter.estimator=soft_rosa"});
  EXPECT_EQ(of_soft_rosa.config.adapter.position_bias, PositionBias::exp) << "soft ROSA had it always";
  EXPECT_THAT(errors_of(distill(), {"adapter.position_bias=yes"}),
              HasSubstr("adapter.position_bias: expected one of none, exp, log, got 'yes'"));

  const std::string before = distill() + "recipe: rosa_soft\n";
  const training::RunConfig kept = load(before, {"adapter.position_bias=true"}).config;
  EXPECT_EQ(kept.recipe, "rosa_soft_20251121");
  EXPECT_EQ(kept.adapter.estimator, "sufa");
  EXPECT_FALSE(kept.evaluation.at_start);
  const LoadedConfig now = load(before);
  EXPECT_EQ(now.config.recipe, "rosa_soft");
  EXPECT_EQ(now.config.adapter.estimator, "soft_rosa");
  EXPECT_THAT(now.text, HasSubstr("position_bias: log  # recipe rosa_soft\n"));
  EXPECT_THAT(errors_of(distill() + "recipe: rosa_hard\n"), HasSubstr("recipe: expected one of default, rosa_soft"));
}

TEST_F(ConfigRules, AllOfThemAreReportedTogether) {
  const std::string errors =
      errors_of(distill(), {"data.min_phrase_length=20", "data.curriculum_until=[2,1]", "adapter.num_heads=3",
                            "adapter.num_key_value_heads=2", "adapter.estimator=sufa", "adapter.sufa_head_dim=6",
                            "optimizer.rate_factors=[1]", "schedules.bits_tau.start=0",
                            "model.folder=", "train.trainable=[]", "run.sede=3"});
  EXPECT_THAT(errors, HasSubstr("has 9 errors"));
  for (const char* part :
       {"--set data.min_phrase_length: is 20, expected at most data.max_phrase_length, 4",
        "--set data.curriculum_until: got 1 after 2", "--set adapter.num_key_value_heads: is 2; expected a divisor",
        "--set adapter.sufa_head_dim: ", "--set optimizer.rate_factors: has 1 entries",
        "--set schedules.bits_tau.start: the value at step 0 of 2 is 0", "--set model.folder: is empty",
        "--set train.trainable: is empty", "--set run.sede: unknown key"}) {
    EXPECT_THAT(errors, HasSubstr(part));
  }
}

TEST_F(ConfigRules, EachNamesItsKeyAndItsLine) {
  EXPECT_THAT(errors_of(distill() + "schedules: {alpha: {start: 0.5, end: 2, shape: linear}}\n"),
              HasSubstr("run.yaml:11: schedules.alpha.end: "));
  const std::vector<Case> cases = {
      {{"run.folder="}, {"run.folder: is empty"}},
      {{"checkpoint.resume="}, {"checkpoint.resume: is empty"}},
      {{"data.max_phrase_length=2"}, {"data.min_phrase_length: is 3"}},
      {{"data.curriculum_until=[5,5]"}, {"data.curriculum_until: got 5 after 5"}},
      {{"data.curriculum_sequence_lengths=[8]"}, {"data.curriculum_sequence_lengths has 1 entries"}},
      {{"data.curriculum_pool_sizes=[8,9]", "data.curriculum_until=[1]"}, {"curriculum_pool_sizes has 2 entries"}},
      {{"data.pool_size=1"}, {"data.pool_size: is 1"}},
      {{"data.alphabet_size=2", "data.min_phrase_length=1", "data.max_phrase_length=1"},
       {"data.pool_size: is 4, but there are only 2 phrases"}},
      {{"data.vocabulary_size=64"}, {"data.vocabulary_size: is 64"}},
      {{"data.kind=crops", "data.train_path=a", "data.held_out_path=b", "data.unrecallable_weight=0.5"},
       {"data.unrecallable_weight: needs kind phrases or lines"}},
      {{"adapter.layers=[1,1]"}, {"adapter.layers: names a layer twice"}},
      {{"adapter.num_key_value_heads=3"}, {"adapter.num_key_value_heads: is 3; expected a divisor"}},
      {{"adapter.query_key_bits=7", "adapter.value_bits=7", "adapter.estimator=sufa"},
       {"adapter.sufa_head_dim: sufa_head_dim is 128"}},
      {{"adapter.estimator=soft_rosa", "adapter.proxy_kernel=sdpa"}, {"adapter.proxy_kernel: proxy_kernel is sdpa"}},
      {{"adapter.tie_start=query_key_value", "adapter.value_bits=3"}, {"adapter.tie_start: query_key_value needs"}},
      {{"adapter.estimator=bit_flip", "adapter.query_key_bits=20"}, {"adapter.estimator: estimator bit_flip takes"}},
      {{"adapter.estimator=bit_flip", "schedules.alpha.start=0"},
       {"adapter.estimator: is bit_flip, which has no soft"}},
      {{"adapter.estimator=bit_flip", "data.sequence_length=70000"}, {"data.sequence_length: is 70000, but"}},
      {{"adapter.num_heads=20000"}, {"adapter.num_heads: 20000 heads of 4 bits"}},
      {{"optimizer.rate_patterns=[\"*\"]"}, {"optimizer.rate_factors: has 0 entries"}},
      {{"optimizer.rate_patterns=[a]", "optimizer.rate_factors=[1]", "optimizer.groups=[{pattern: a}]"},
       {"optimizer.rate_patterns: is the earlier spelling"}},
      {{"optimizer.groups=[{rate: 2}]"}, {"optimizer.groups[0].pattern: is empty"}},
      {{"optimizer.groups=[{pattern: a, weight_decay: -0.5}]"}, {"optimizer.groups[0].weight_decay: is -0.5"}},
      {{"optimizer.groups=[{pattern: a, rates: 2}]"}, {"--set optimizer.groups[0].rates: unknown key"}},
      {{"optimizer.groups=[{pattern: a, rate: 2, rate: 3}]"},
       {"--set optimizer.groups[0].rate: duplicate key; remove"}},
      {{"loss.top_k=1"}, {"loss.top_k: is 1: renormalised"}},
      {{"loss.beta=1"}, {"loss.beta: expected a number from 0.001 to 0.999"}},
      {{"loss.divergence=kl"}, {"loss.divergence: expected one of forward_kl, reverse_kl, jensen_shannon"}},
      {{"train.num_steps=0"}, {"got '0'; or give train.num_epochs"}},
      {{"train.num_epochs=2"}, {"train.num_epochs: is 2, but train.num_steps is 2: give one", "needs data.kind"}},
      {{"train.early_stop.patience=2", "evaluation.every=0"}, {"train.early_stop.patience: counts evaluations"}},
      {{"train.early_stop.figure=a/b"}, {"train.early_stop.figure: is a figure of a suite"}},
      {{"parallel.wire_dtype=bfloat16", "parallel.reduction=deterministic"}, {"parallel.wire_dtype: bfloat16 needs"}},
      {{"parallel.wire_dtype=bfloat16", "compute.device=cpu"}, {"parallel.wire_dtype: bfloat16 needs"}},
      {{"failures.heartbeat_s=1e-9"}, {"failures.heartbeat_s: is 1e-09"}},
      {{"checkpoint.keep_best=2", "evaluation.every=0"}, {"checkpoint.keep_best: counts checkpoints"}},
      {{"train.micro_batch_sequences=60000", "data.sequence_length=100000"}, {"train.micro_batch_sequences: is 60000"}},
      {{"train.micro_batches=60000", "data.sequence_length=100000"}, {"train.micro_batches: is 60000"}},
      {{"optimizer.epsilon=0"}, {"optimizer.epsilon: expected a number from 1e-30 to 1"}},
      {{"optimizer.beta1=1"}, {"optimizer.beta1: expected a number from 0 to 0.999999"}},
      {{"optimizer.beta2=1"}, {"optimizer.beta2: expected"}},
  };
  for (const auto& [overrides, parts] : cases) {
    const std::string errors = errors_of(distill(), overrides);
    for (const std::string& part : parts) EXPECT_THAT(errors, HasSubstr(part)) << ::testing::PrintToString(overrides);
  }
  // A run that starts says these after its model's folder was looked at: a damaged model comes first.
  const std::vector<Case> of_paths = {
      {{"data.kind=lines"}, {"data.train_path: is empty", "data.held_out_path: is empty"}},
      {{"data.kind=token_file", "evaluation.every=0"}, {"data.train_path: is empty"}},
  };
  for (const auto& [overrides, parts] : of_paths) {
    const std::string errors = errors_of(distill(), overrides, ConfigUse::any_training);
    for (const std::string& part : parts) EXPECT_THAT(errors, HasSubstr(part)) << ::testing::PrintToString(overrides);
    EXPECT_EQ(errors_of(distill(), overrides), "");
  }
  const std::vector<Case> of_pretraining = {
      {{"model.architecture.num_key_value_heads=3"}, {"model.architecture.num_key_value_heads: is 3"}},
      {{"model.architecture.head_dim=5"}, {"model.architecture.head_dim: is 5"}},
      {{"model.architecture.hidden_size=65536", "model.architecture.intermediate_size=262144",
        "model.architecture.num_hidden_layers=4096"},
       {"model.architecture.hidden_size: the sizes make a model of "}},
      {{"model.compute_dtype=bfloat16"}, {"model.compute_dtype: is bfloat16, but weights that are trained"}},
      {{"loss.distill_alpha=0.5"}, {"loss.distill_alpha: is 0.5, but pretraining has no teacher"}},
  };
  for (const auto& [overrides, parts] : of_pretraining) {
    const std::string errors = errors_of(pretrain(), overrides, ConfigUse::pretrain);
    for (const std::string& part : parts) EXPECT_THAT(errors, HasSubstr(part)) << ::testing::PrintToString(overrides);
  }
}

TEST_F(ConfigRules, SchedulesKeepTheirRangeAlongTheWholeRun) {
  const auto with = [this](const std::string& name, const std::string& schedule, int num_steps = 10) {
    return errors_of(distill() + "schedules: {" + name + ": {" + schedule + "}}\n",
                     {"train.num_steps=" + std::to_string(num_steps), "adapter.estimator=sufa"});
  };
  const std::vector<std::vector<std::string>> wrong = {
      {"learning_rate", "shape: exponential, warmup_steps: 6",
       "schedules.learning_rate.shape: does not fit schedules.learning_rate.end: exponential"},
      {"learning_rate", "start: -1e-3", "schedules.learning_rate.start: the value at step 0"},
      {"learning_rate", "end: -1e-3", "schedules.learning_rate.end: the value at step"},
      {"learning_rate", "start: 1e8", "schedules.learning_rate.start: "},
      {"learning_rate", "shape: exponential, start: 0, end: 1", "schedules.learning_rate.start: exponential"},
      {"alpha", "shape: linear, start: 0, end: 2", "schedules.alpha.end: the value at step"},
      {"alpha", "start: 1.5", "schedules.alpha.start: "},
      {"alpha", "start: -0.1", "schedules.alpha.start: "},
      {"bits_tau", "warmup_steps: 3", "schedules.bits_tau.warmup_steps: the value at step 0 of 10 is 0"},
      {"attn_tau", "shape: linear, end: 0, decay_steps: 6", "schedules.attn_tau.end: the value at step"},
      {"attn_tau", "shape: exponential, end: 0", "schedules.attn_tau.end: exponential"},
      {"attn_tau", "shape: cosine, end: -1, delay_steps: 4", "schedules.attn_tau.end: "},
      {"bits_tau", "shape: linear, start: 1, end: 0, lag_steps: 2, decay_steps: 3", "schedules.bits_tau.end: "},
  };
  for (const auto& each : wrong) {
    EXPECT_THAT(with(each[0], each[1]), AllOf(HasSubstr("run.yaml:11: " + each[2]), HasSubstr("has 1 error")))
        << each[1];
  }
  const std::vector<std::vector<std::string>> right = {
      {"learning_rate", "warmup_steps: 20"},
      {"learning_rate", "shape: exponential, end: 1e-9"},
      {"alpha", "shape: cosine, start: 0, end: 1, lag_steps: 1"},
      {"alpha", "shape: constant, start: 1, end: 7"},          // unused by constant
      {"attn_tau", "shape: linear, end: 0, decay_steps: 60"},  // never reached
      {"bits_tau", "shape: exponential, start: 5, end: 0.1"},
  };
  for (const auto& each : right) EXPECT_EQ(with(each[0], each[1]), "") << each[1];
  // What is refused and what is not, against every step of the run.
  for (const auto& [schedule, range] : std::vector<std::pair<training::ScheduleConfig, base::Range<double>>>{
           {{.shape = training::ScheduleShape::linear, .start = 1, .end = 0, .decay_steps = 9}, {0.05, 1}},
           {{.shape = training::ScheduleShape::linear, .start = 1, .end = 0, .decay_steps = 40}, {0.05, 1}},
           {{.shape = training::ScheduleShape::cosine, .start = 1, .end = 3, .delay_steps = 7, .lag_steps = 2}, {0, 2}},
           {{.start = 1, .warmup_steps = 5}, {0.1, 1}},
           {{.start = 1, .warmup_steps = 5}, {0, 1}},
           {{.shape = training::ScheduleShape::exponential, .start = 1, .end = 1e-4, .decay_steps = 20}, {1e-3, 1}}}) {
    for (const int64_t num_steps : {1, 2, 9, 10, 11, 30, 60}) {
      bool is_good = true;
      for (int64_t step = 0; step < num_steps; ++step) {
        const double value = schedule_value(schedule, step, num_steps);
        is_good = is_good && value >= range.min && value <= range.max;
      }
      base::ConfigProblems problems;
      check(problems, schedule, num_steps, range);
      EXPECT_EQ(problems.empty(), is_good) << num_steps << " steps";
    }
  }
}

TEST_F(ConfigRules, ExperimentsReportAllToo) {
  const std::string errors = experiment_errors(
      {"experiment.folder=", "experiment.seeds=[]", "data.num_samples=5", "study.arm=nobody", "learning_rate.end=-1",
       "learning_rate.shape=linear", "optimizer.rate_factors=[1]", "compute.device=cuda",
       "experiment.estimators=[disarm num_samples=3, guess, \"leg scop=joint\", disarm num_samples=3]"});
  for (const char* part : {"experiment.folder: is empty", "experiment.seeds: is empty", "data.micro_batches: is 2",
                           "study.arm: is 'nobody'", "learning_rate.end: the value at step",
                           "optimizer.rate_factors: has 1", "compute.device: is cuda",
                           "experiment.estimators: 'disarm num_samples=3'", "'guess' is no estimator of this task",
                           "--set scop: unknown key; did you mean scope?", "holds 'disarm num_samples=3' twice"}) {
    EXPECT_THAT(errors, HasSubstr(part));
  }
  const std::vector<Case> cases = {
      {{"data.num_samples=65536", "data.length=65536"}, {"data.num_samples: num_samples, length and channels"}},
      {{"experiment.task=recall", "experiment.estimators=[sufa]"}, {"data.length: is 16; expected at least 4"}},
      {{"experiment.task=recall", "experiment.estimators=[sufa]", "data.num_keys=2"}, {"data.num_pairs: is 8"}},
      {{"experiment.task=recall", "experiment.estimators=[sufa sufa_head_dim=7]"},
       {"'sufa sufa_head_dim=7': adapter."}},
      {{"learning_rate.shape=exponential", "learning_rate.end=0"}, {"learning_rate.end: exponential"}},
      {{"experiment.estimators=[]"}, {"experiment.estimators: is empty"}},
  };
  for (const auto& [overrides, parts] : cases) {
    for (const std::string& part : parts) {
      EXPECT_THAT(experiment_errors(overrides), HasSubstr(part)) << ::testing::PrintToString(overrides);
    }
  }
}

// ---- numbers

// The keys that take numbers; a list takes one of them.
class NumericKeys : public base::FieldVisitor {
 public:
  std::vector<std::pair<std::string, bool>> keys;  // and whether it is a list

  void field(std::string_view, bool&, base::Role, std::string_view) override {}
  void field(std::string_view name, int64_t&, base::Role, std::string_view, base::Range<int64_t>) override {
    keys.emplace_back(prefix_ + std::string(name), false);
  }
  void field(std::string_view name, double&, base::Role, std::string_view, base::Range<double>) override {
    keys.emplace_back(prefix_ + std::string(name), false);
  }
  void field(std::string_view, std::string&, base::Role, std::string_view, const std::vector<std::string>&) override {}
  void field(std::string_view name, std::vector<int64_t>&, base::Role, std::string_view,
             base::Range<int64_t>) override {
    keys.emplace_back(prefix_ + std::string(name), true);
  }
  void field(std::string_view name, std::vector<double>&, base::Role, std::string_view, base::Range<double>) override {
    keys.emplace_back(prefix_ + std::string(name), true);
  }
  void field(std::string_view, std::vector<std::string>&, base::Role, std::string_view) override {}
  void begin_section(std::string_view name, std::string_view) override { prefix_ += std::string(name) + "."; }
  void end_section() override {
    prefix_.pop_back();
    prefix_.erase(prefix_.rfind('.') == std::string::npos ? 0 : prefix_.rfind('.') + 1);
  }

 private:
  std::string prefix_;
};

const std::vector<std::string> kAbsurd = {"4611686018427387904",
                                          "9223372036854775807",
                                          "1000000000",
                                          "1048577",
                                          "-1",
                                          "0",
                                          "nan",
                                          ".inf",
                                          "1e308",
                                          "-1e308",
                                          "1e-308"};

class Watcher : public training::TrainingObserver {
 public:
  void on_start(int64_t, int64_t) override {}
  void on_step(const training::StepMetrics& metrics) override { losses.push_back(metrics.loss); }
  void on_evaluation(const training::EvaluationMetrics& metrics) override { losses.push_back(metrics.ce); }
  void on_checkpoint(int64_t, const fs::path&) override {}
  void on_notice(const std::string&) override {}
  void on_end() override {}

  std::vector<double> losses;
};

// Trains two steps of a configuration that was not refused.
void expect_works(const LoadedConfig& loaded, training::Objective objective, const std::string& what) {
  fs::remove_all(loaded.config.run.folder);
  const auto communicator = parallel::make_single_communicator();
  Watcher watcher;
  // A run of many steps is stopped after two of them.
  const training::RunContext context{.communicator = *communicator,
                                     .observer = watcher,
                                     .stop_requested = [&] { return watcher.losses.size() >= 2; },
                                     .resolved_config = loaded.text};
  try {
    training::train_run(loaded.config, objective, context);
    EXPECT_THAT(watcher.losses, Not(IsEmpty())) << what;
    for (const double loss : watcher.losses) EXPECT_TRUE(std::isfinite(loss)) << what;
  } catch (const base::ConfigError&) {
    // What only the model's sizes can show; it names its key too.
  } catch (const std::exception& error) {
    ADD_FAILURE() << what << ": " << error.what();
  }
}

TEST_F(ConfigRules, EveryNumberIsRefusedOrWorks) {
  training::RunConfig config;
  NumericKeys numbers;
  describe(numbers, config);
  ASSERT_GT(numbers.keys.size(), 70u);
  int num_tried = 0;
  for (const auto& [key, is_list] : numbers.keys) {
    const bool is_of_model = key.starts_with("model.");
    for (const std::string& value : kAbsurd) {
      const std::string assignment = key + "=" + (is_list ? "[" + value + "]" : value);
      const ConfigUse use = is_of_model ? ConfigUse::pretrain : ConfigUse::distill;
      const std::string yaml = is_of_model ? pretrain() : distill();
      const std::string errors = errors_of(yaml, {assignment}, use);
      if (!errors.empty()) {
        EXPECT_THAT(errors, HasSubstr(key)) << assignment;
        continue;
      }
      const LoadedConfig loaded = load(yaml, {assignment}, use);
      // Large, but what somebody may have the time and the memory for; a test has not.
      constexpr double kMaxWeights = 1e6;
      if (key == "evaluation.num_sequences") continue;
      if (is_of_model && models::num_parameters(loaded.config.model.architecture) > kMaxWeights) continue;
      ++num_tried;
      const auto objective = is_of_model ? training::Objective::pretrain : training::Objective::distill;
      expect_works(loaded, objective, assignment);
    }
  }
  EXPECT_GT(num_tried, 50);
}

TEST_F(ConfigRules, NoExperimentTakesAnAbsurdNumber) {
  training::ExperimentConfig config;
  NumericKeys numbers;
  describe(numbers, config);
  for (const auto& [key, is_list] : numbers.keys) {
    for (const char* value : {"4611686018427387904", "-1", "nan", ".inf", "1e308"}) {
      if (key == "experiment.seeds" && value[0] == '4') continue;  // any number is a seed
      const std::string assignment = base::concat(key, "=", is_list ? "[" : "", value, is_list ? "]" : "");
      // A rate that is never reached may have any end.
      if (key == "learning_rate.end" && std::string(value) == "-1") continue;
      EXPECT_THAT(experiment_errors({assignment}), HasSubstr(key)) << assignment;
    }
  }
}

// Whoever set a key is told of that key, also where another one is what disagrees with it.
TEST_F(ConfigRules, TheKeyThatWasSetIsBlamed) {
  const std::string yaml = distill() + "optimizer: {rate_patterns: [\"*\"], rate_factors: [0.5]}\n";
  for (const auto& [overrides, parts] : std::vector<Case>{
           {{"adapter.query_key_bits=5"},
            {"--set adapter.query_key_bits: does not fit adapter.tie_start: query_key_value needs value_bits equal"}},
           {{"optimizer.rate_patterns=[]"},
            {"--set optimizer.rate_patterns: does not fit optimizer.rate_factors: has 1 entries"}},
           {{"optimizer.rate_factors=[]"}, {"--set optimizer.rate_factors: has 0 entries"}},
           {{"data.max_phrase_length=2"}, {"--set data.max_phrase_length: does not fit data.min_phrase_length: is 3"}},
           {{"adapter.num_heads=3", "adapter.num_key_value_heads=2"}, {"--set adapter.num_key_value_heads: is 2"}},
       }) {
    const std::string errors = errors_of(yaml, overrides);
    EXPECT_THAT(errors, AllOf(HasSubstr("has 1 error"), HasSubstr(parts.front())));
  }
}

// ---- model and data

std::string refusal_of(const training::RunConfig& config, int world_size = 1, const base::ConfigOrigin& origin = {}) {
  try {
    training::check_before_training(config, training::Objective::distill, world_size, origin);
    return "";
  } catch (const base::ConfigError& error) {
    return error.what();
  }
}

TEST_F(ConfigRules, WhatNeedsModelAndDataIsFoundTogetherBeforeAnythingIsBuilt) {
  const auto with = [this](const Overrides& overrides) { return load(distill(), overrides).config; };
  EXPECT_EQ(refusal_of(with({})), "");
  const std::string errors =
      refusal_of(with({"adapter.layers=[7]", "data.alphabet_size=1000", "train.micro_batches=3"}), 2);
  EXPECT_THAT(errors, AllOf(HasSubstr("adapter.layers: holds 7; the model has layers 0 to 2"),
                            HasSubstr("data.alphabet_size: the data has a vocabulary of 1001"),
                            HasSubstr("train.micro_batches: a global batch of 3")));
  EXPECT_THAT(errors, Not(HasSubstr("\n")));
  EXPECT_THAT(refusal_of(with({"train.trainable=[\"*.q_prj.*\"]", "optimizer.rate_patterns=[\"*.none\"]",
                               "optimizer.rate_factors=[0.5]"})),
              AllOf(HasSubstr("train.trainable: '*.q_prj.*' matches no parameter"),
                    HasSubstr("optimizer.rate_patterns: '*.none' matches no parameter")));
  EXPECT_THAT(refusal_of(with({"optimizer.groups=[{pattern: \"*\"}, {pattern: \"*.none\"}, {pattern: \"*q_proj*\"}]"})),
              AllOf(HasSubstr("optimizer.groups[1].pattern: '*.none' matches no parameter"),
                    HasSubstr("optimizer.groups[2].pattern: '*q_proj*' matches only parameters of earlier groups")));
  EXPECT_THAT(refusal_of(with({"loss.top_k=1000000"})), HasSubstr("loss.top_k: is 1000000, but the model knows only"));
  EXPECT_THAT(refusal_of(with({"optimizer.rate_patterns=[\"*\"]", "optimizer.rate_factors=[0]"})),
              HasSubstr("leaves no parameter to train"));
  EXPECT_THAT(refusal_of(with({"adapter.num_heads=0", "adapter.num_key_value_heads=5"})),
              HasSubstr("adapter.num_key_value_heads: is 5; expected a divisor of adapter.num_heads, which is 16"));
  // A file that can't be used keeps its own kind of error where it is alone, and is told with the rest where not.
  EXPECT_THROW(training::check_before_training(with({"model.folder=/no/such"}), training::Objective::distill, 1),
               base::FileError);
  training::RunConfig both = with({"model.folder=/no/such"});
  both.optimizer.rate_factors = {1};
  EXPECT_THAT(refusal_of(both), AllOf(HasSubstr("/no/such"), HasSubstr("optimizer.rate_factors")));
}

TEST_F(ConfigRules, WhatNeedsModelAndDataNamesThePlaceOfItsKey) {
  const auto refusal = [this](const Overrides& overrides, const std::string& more = "") {
    const LoadedConfig loaded = load(distill() + more, overrides);
    return refusal_of(loaded.config, 1, loaded.origin);
  };
  EXPECT_THAT(refusal({"adapter.layers=[7]", "data.alphabet_size=1000"}),
              AllOf(HasSubstr("run.yaml has 2 errors"), HasSubstr("--set adapter.layers: holds 7"),
                    HasSubstr("--set data.alphabet_size: the data has a vocabulary of 1001")));
  EXPECT_THAT(refusal({"data.vocabulary_size=1000"}),
              HasSubstr("--set data.vocabulary_size: the data has a vocabulary"));
  EXPECT_THAT(refusal({}, "optimizer: {rate_factors: [0.5], rate_patterns: [none]}\n"),
              HasSubstr("run.yaml:11: optimizer.rate_patterns: 'none' matches no parameter"));
  // A file's own kind of error keeps its kind.
  std::string yaml = distill();
  yaml.replace(yaml.find(kModel), std::string(kModel).size(), "/no/such");
  const LoadedConfig no_model = load(yaml);
  try {
    training::check_before_training(no_model.config, training::Objective::distill, 1, no_model.origin);
    ADD_FAILURE() << "was taken";
  } catch (const base::FileError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("run.yaml:2: model.folder: "), HasSubstr("/no/such")));
  }
  std::ofstream(folder_ / "text.txt") << "short";
  const LoadedConfig no_data = load(distill(), {"data.kind=crops", "data.train_path=" + (folder_ / "text.txt").string(),
                                                "data.held_out_path=" + (folder_ / "text.txt").string()});
  try {
    training::check_before_training(no_data.config, training::Objective::distill, 1, no_data.origin);
    ADD_FAILURE() << "was taken";
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--set data.train_path: "));
  }
}

TEST_F(ConfigRules, TheNamesOfWeightsAreKnownBeforeTheyAreMade) {
  const training::RunConfig config = load(distill(), {"adapter.bias=true"}).config;
  const models::ModelConfig model = training::model_config_of(config, training::Objective::distill);
  const models::AdapterSet adapters(config.adapter, model, 1);
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, tensor] : adapters.parameters()) shapes[name] = tensor.sizes().vec();
  EXPECT_EQ(models::adapter_parameter_shapes(adapters.config(), model), shapes);
}

TEST_F(ConfigRules, WindowsAreOneOrOneForEachLayer) {
  const auto loaded = [&](const Overrides& overrides) { return load(distill(), overrides).config.student; };
  EXPECT_THAT(training::windows_of_layers(loaded({}), 3), IsEmpty());
  EXPECT_THAT(training::windows_of_layers(loaded({"student.sliding_window=[4,0,9]"}), 3),
              ::testing::ElementsAre(4, 0, 9));
  EXPECT_EQ(loaded({"student.sliding_window=[4,0,9]"}).sliding_window, 9);
  EXPECT_THAT(training::windows_of_layers(loaded({"student.global_layers=[2]"}), 3), ::testing::ElementsAre(6, 6, 0));
  // What is dumped is read again.
  const std::string dumped = load(distill(), {"student.sliding_window=[4,0,9]", "student.sink_tokens=2"}).text;
  EXPECT_THAT(training::windows_of_layers(load(dumped, {}).config.student, 3), ::testing::ElementsAre(4, 0, 9));
  const std::vector<Case> cases = {
      {{"student.sliding_window=0"}, {"student.sliding_window: expected an integer from 1"}},
      {{"student.sliding_window=[4,-1,2]"}, {"student.sliding_window"}},
      {{"student.sink_tokens=-1"}, {"student.sink_tokens"}},
  };
  for (const auto& [overrides, parts] : cases) {
    const std::string errors = errors_of(distill(), overrides);
    for (const std::string& part : parts) EXPECT_THAT(errors, HasSubstr(part)) << ::testing::PrintToString(overrides);
  }
  for (const auto& [overrides, part] : {std::pair{Overrides{"student.sliding_window=[4,2]"},
                                                  "student.sliding_window: lists 2 windows, the model has 3"},
                                        {Overrides{"student.global_layers=[3]"},
                                         "student.global_layers: names layer 3, the model has layers 0 to 2"}}) {
    try {
      training::check_before_training(load(distill(), overrides).config, training::Objective::distill, 1);
      ADD_FAILURE() << "accepted " << ::testing::PrintToString(overrides);
    } catch (const base::ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  }
}

TEST_F(ConfigRules, WhatIsHardlyMeantIsAWarning) {
  const auto warnings_of = [&](const Overrides& overrides) {
    return training::check_before_training(load(distill(), overrides).config, training::Objective::distill, 1);
  };
  EXPECT_THAT(warnings_of({}), IsEmpty());
  const std::string text = (folder_ / "text.txt").string();
  std::ofstream(text) << std::string(5000, 'a');
  const std::vector<Case> cases = {
      {{"student.global_layers=[0,1,2]"}, {"every layer of the student keeps global attention"}},
      {{"student.sliding_window=24"}, {"student.sliding_window is 24, which covers every sequence of 24"}},
      {{"data.sequence_length=600"}, {"data.sequence_length is 600, but the model is meant for 512"}},
      {{"data.kind=crops", "data.train_path=" + text, "data.held_out_path=" + text},
       {"data.held_out_path is the file that is trained on"}},
      {{"schedules.learning_rate.warmup_steps=5"}, {"warms up for 5 steps, but the run has 2"}},
      {{"checkpoint.keep_best=1", "checkpoint.every=3"}, {"no step of this run is both"}},
  };
  for (const auto& [overrides, parts] : cases) {
    const std::vector<std::string> warnings = warnings_of(overrides);
    ASSERT_EQ(warnings.size(), parts.size()) << ::testing::PrintToString(overrides);
    EXPECT_THAT(warnings.front(), HasSubstr(parts.front()));
  }
  // A window that covers only the later, longer stage's beginning does not cover all.
  EXPECT_THAT(
      warnings_of({"student.sliding_window=20", "data.curriculum_until=[1]", "data.curriculum_sequence_lengths=[16]"}),
      IsEmpty());
}

TEST_F(ConfigRules, ATokenizerThatContradictsTheModelIsAWarning) {
  fs::copy(kModel, folder_ / "model");
  const Overrides overrides = {"model.folder=" + (folder_ / "model").string()};
  const auto warnings_with = [&](const std::string& tokenizer) {
    std::ofstream(folder_ / "model" / "tokenizer.json") << tokenizer;
    return training::check_before_training(load(distill(), overrides).config, training::Objective::distill, 1);
  };
  EXPECT_THAT(warnings_with(R"({"model": {"vocab": {"a": 0, "b": 64}}})"), IsEmpty());
  EXPECT_THAT(warnings_with(R"({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 99999, "content": "x"}]})"),
              ::testing::ElementsAre(HasSubstr("has token ids up to 99999")));
  EXPECT_THAT(warnings_with(R"({"model": {"vocab": {"a": 0, "b": 9}}})"),
              ::testing::ElementsAre(HasSubstr("the tokenizer in")));
  for (const char* nonsense :
       {"{", "[]", "{\"model\": 3}", "{\"model\": {\"vocab\": []}}", "{\"added_tokens\": [1]}"}) {
    EXPECT_THAT(warnings_with(nonsense), IsEmpty()) << nonsense;
  }
}

TEST_F(ConfigRules, WeightsThatAreNotFiniteAreNamed) {
  std::map<std::string, at::Tensor> weights = {{"a", at::ones({3, 4})}, {"b", at::full({2}, 3e38F)}};
  EXPECT_NO_THROW(training::require_finite(weights, "folder"));  // though b's sum overflows
  weights["a"][1][2] = std::numeric_limits<float>::quiet_NaN();
  weights["b"][1] = std::numeric_limits<float>::infinity();
  try {
    training::require_finite(weights, "folder");
    FAIL();
  } catch (const base::NumericError& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("weights of folder are not finite"), HasSubstr("'a' holds 1 of 12, the first at [1,2]"),
                      HasSubstr("'b' holds 1 of 2, the first at [1]")));
  }
}

}  // namespace
}  // namespace rosa::launch
