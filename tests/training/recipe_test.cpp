// A resumed run is the same recipe. Every key that the configuration describes is tried, also those to come: what
// decides what is learnt is refused by name where it changed, and accepted by name; everything else may change.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "models/safetensors_weights.h"
#include "parallel/single_communicator.h"
#include "rosa/operator/tensor_bytes.h"
#include "tests/support/temporary_folder.h"
#include "training/checkpoint.h"
#include "training/run.h"
#include "training/run_identity.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::Range;
using base::Role;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Gives the key `wanted` another value; collects the role of every key.
class Changer : public base::FieldVisitor {
 public:
  explicit Changer(std::string wanted = "") : wanted_(std::move(wanted)) {}

  void field(std::string_view name, bool& value, Role role, std::string_view) override {
    if (is_wanted(name, role)) value = !value;
  }
  void field(std::string_view name, int64_t& value, Role role, std::string_view, Range<int64_t> range) override {
    if (is_wanted(name, role)) value += value < range.max ? 1 : -1;
  }
  void field(std::string_view name, double& value, Role role, std::string_view, Range<double> range) override {
    if (is_wanted(name, role)) value = value == range.min ? value + 0.125 : (value + range.min) / 2;
  }
  void field(std::string_view name, std::string& value, Role role, std::string_view,
             const std::vector<std::string>& choices) override {
    if (!is_wanted(name, role)) return;
    value = choices.empty() ? value + "x" : choices.front() == value ? choices.back() : choices.front();
  }
  void field(std::string_view name, std::vector<int64_t>& value, Role role, std::string_view, Range<int64_t>) override {
    if (is_wanted(name, role)) value.push_back(1);
  }
  void field(std::string_view name, std::vector<double>& value, Role role, std::string_view, Range<double>) override {
    if (is_wanted(name, role)) value.push_back(1.5);
  }
  void field(std::string_view name, std::vector<std::string>& value, Role role, std::string_view) override {
    if (is_wanted(name, role)) value.push_back("x");
  }
  void begin_section(std::string_view name, std::string_view) override { sections_.emplace_back(name); }
  void end_section() override { sections_.pop_back(); }

  std::map<std::string, Role> roles;

 private:
  bool is_wanted(std::string_view name, Role role) {
    std::string key;
    for (const std::string& section : sections_) key += section + ".";
    key += name;
    roles[key] = role;
    return key == wanted_;
  }

  std::string wanted_;
  std::vector<std::string> sections_;
};

std::map<std::string, Role> roles_of_all_keys() {
  RunConfig config;
  Changer changer;
  describe(changer, config);
  return changer.roles;
}

RunConfig changed(RunConfig config, const std::string& key) {
  Changer changer(key);
  describe(changer, config);
  return config;
}

// What a run with `now` says of a state; empty: nothing.
std::string refusal_of(const base::StateDict& saved, const IdentityFields& now,
                       const std::set<std::string>& accepted = {}) {
  RunIdentity identity(now, accepted);
  try {
    identity.load_state(saved);
    return "";
  } catch (const base::CheckpointError& error) {
    return error.what();
  }
}

base::StateDict state_of(const RunConfig& config) {
  return RunIdentity({.values = recipe_values(config), .earlier_form = {}}, {}).save_state();
}

IdentityFields fields_of(const RunConfig& config) { return {.values = recipe_values(config), .earlier_form = {}}; }

TEST(Recipe, EveryKeyOfItIsRefusedByNameAndAcceptedByName) {
  const RunConfig config;
  const base::StateDict saved = state_of(config);
  int num_keys = 0;
  for (const auto& [key, role] : roles_of_all_keys()) {
    if (role != Role::recipe) continue;
    SCOPED_TRACE(key);
    ++num_keys;
    const IdentityFields now = fields_of(changed(config, key));
    const std::string was = std::get<std::string>(saved.values.at(key));
    EXPECT_NE(was, now.values.at(key)) << "the test changes nothing";
    const std::string refusal = refusal_of(saved, now);
    EXPECT_THAT(refusal, HasSubstr(key + ": the checkpoint has '" + was + "', this run has '" + now.values.at(key)));
    EXPECT_THAT(refusal, AllOf(HasSubstr("--accept-changed " + key + ";"), Not(HasSubstr("\n"))));
    EXPECT_EQ(refusal_of(saved, now, {key}), "");
    EXPECT_NE(refusal_of(saved, now, {"tokenizer"}), "") << "another name";
    const std::string section = key.substr(0, key.rfind('.'));
    EXPECT_EQ(refusal_of(saved, now, {section}).empty(), section != "run") << "run stands for the run's id";
  }
  EXPECT_GT(num_keys, 50);
}

TEST(Recipe, WhatIsNotOfItMayChange) {
  const RunConfig config;
  int num_keys = 0;
  for (const auto& [key, role] : roles_of_all_keys()) {
    if (role == Role::recipe) continue;
    ++num_keys;
    EXPECT_EQ(refusal_of(state_of(config), fields_of(changed(config, key))), "") << key;
  }
  EXPECT_GT(num_keys, 10);
}

// Checkpoints of before say true or false.
TEST(Recipe, ThePositionBiasOfBeforeIsReadAsItWasMeant) {
  RunConfig config;
  base::StateDict saved = state_of(config);
  saved.values["adapter.position_bias"] = "true";
  EXPECT_EQ(refusal_of(saved, fields_of(config)), "");
  saved.values["adapter.position_bias"] = "false";
  EXPECT_THAT(refusal_of(saved, fields_of(config)), HasSubstr("adapter.position_bias: the checkpoint has 'none'"));
  config.adapter.position_bias = PositionBias::none;
  EXPECT_EQ(refusal_of(saved, fields_of(config)), "");
  // Soft ROSA had it always.
  saved.values["adapter.estimator"] = config.adapter.estimator = "soft_rosa";
  config.adapter.position_bias = PositionBias::exp;
  EXPECT_EQ(refusal_of(saved, fields_of(config)), "");
}

TEST(Recipe, BothVersionsOfRosaSoft) {
  const RunConfig trainer = recipe_defaults("rosa_soft"), of_operator = recipe_defaults("rosa_soft_20251121");
  EXPECT_EQ(of_operator.adapter.estimator, "sufa");
  EXPECT_EQ(of_operator.adapter.position_bias, PositionBias::exp);
  EXPECT_EQ(of_operator.loss.distill_alpha, 1);
  EXPECT_FALSE(of_operator.evaluation.at_start);
  EXPECT_FALSE(of_operator.compute.tf32);
  EXPECT_EQ(trainer.adapter.estimator, "soft_rosa");
  EXPECT_EQ(trainer.adapter.position_bias, PositionBias::log);
  EXPECT_EQ(trainer.loss.distill_alpha, 0);
  EXPECT_TRUE(trainer.evaluation.at_start);
  EXPECT_TRUE(trainer.compute.tf32);
  for (const RunConfig& config : {trainer, of_operator}) {
    EXPECT_EQ(config.adapter.proxy_mask, ProxyMask::sliding_window);
    EXPECT_EQ(config.adapter.value_embedding_scale, 1e-5);
    EXPECT_EQ(config.student.sliding_window, 128);
    EXPECT_EQ(config.schedules.learning_rate.start, 5e-5);
    EXPECT_EQ(config.schedules.learning_rate.warmup_steps, 2000);
    EXPECT_EQ(config.schedules.alpha.lag_steps, 1);
    EXPECT_EQ(config.optimizer.weight_decay, 0.1);
    EXPECT_EQ(config.train.micro_batches * config.train.micro_batch_sequences, 1);
    EXPECT_EQ(config.checkpoint.every, 2000);
  }
  EXPECT_THROW(recipe_defaults("rosa_hard"), base::ConfigError);
}

// The names that must stay what they are, whatever is added.
TEST(Recipe, RolesOfSomeKeys) {
  const auto roles = roles_of_all_keys();
  for (const char* key : {"student.sliding_window", "loss.temperature", "optimizer.weight_decay", "adapter.estimator",
                          "adapter.layers", "train.trainable", "optimizer.rate_factors", "train.micro_batches",
                          "train.micro_batch_sequences", "compute.threads", "run.seed", "parallel.reduction",
                          "parallel.wire_dtype", "failures.on_spike", "model.compute_dtype"}) {
    EXPECT_EQ(roles.at(key), Role::recipe) << key;
  }
  for (const char* key : {"run.folder", "model.folder", "data.train_path", "compute.automaton_threads",
                          "compute.device", "checkpoint.every", "checkpoint.keep_last", "parallel.sharded_optimizer",
                          "failures.heartbeat_s", "logging.every", "evaluation.every"}) {
    EXPECT_NE(roles.at(key), Role::recipe) << key;
  }
}

TEST(Recipe, AllChangesAreNamedAtOnceAndOldNamesStandForTheirKeys) {
  RunConfig other;
  other.train.num_steps += 1;
  other.train.micro_batches *= 2;
  other.schedules.alpha.start = 0.25;
  const std::string refusal = refusal_of(state_of({}), fields_of(other));
  EXPECT_THAT(refusal, HasSubstr("--accept-changed schedules.alpha.start,train.micro_batches,train.num_steps;"));
  EXPECT_EQ(refusal_of(state_of({}), fields_of(other), {"num_steps", "global_batch", "schedules"}), "");
  EXPECT_NE(refusal_of(state_of({}), fields_of(other), {"num_steps", "global_batch"}), "");
  RunIdentity accepting(fields_of(other), {"train", "schedules"});
  accepting.load_state(state_of({}));
  EXPECT_THAT(accepting.accepted_changes(),
              ElementsAre(HasSubstr("schedules.alpha.start: the checkpoint has '1.0'"),
                          HasSubstr("train.micro_batches: "), HasSubstr("train.num_steps")));
}

// The same product is another recipe: gradients are summed in another order.
TEST(Recipe, TwoMicroBatchesOfOneAreNotOneOfTwo) {
  RunConfig two, one;
  two.train.micro_batches = 2;
  one.train.micro_batch_sequences = 2;
  EXPECT_THAT(refusal_of(state_of(two), fields_of(one)),
              HasSubstr("--accept-changed train.micro_batch_sequences,train.micro_batches;"));
}

TEST(Recipe, ContentsAreComparedAndThoseThatFollowFromAKeyAreAcceptedWithIt) {
  const IdentityFields before = {.values = {{"data", "11"}, {"data.kind", "lines"}, {"vocabulary", "65 of 211"}},
                                 .earlier_form = {}};
  const base::StateDict saved = RunIdentity(before, {}).save_state();
  IdentityFields now = before;
  now.values["data"] = "22";
  EXPECT_THAT(refusal_of(saved, now), HasSubstr("data (training data, by content): the checkpoint has '11'"));
  EXPECT_EQ(refusal_of(saved, now, {"data"}), "");
  EXPECT_NE(refusal_of(saved, now, {"data.kind"}), "") << "the kind is the same, the file is another";
  now.values["data.kind"] = "phrases";
  EXPECT_THAT(refusal_of(saved, now), HasSubstr("--accept-changed data.kind;"));
  EXPECT_EQ(refusal_of(saved, now, {"data.kind"}), "");
  // Data that one of the two does not use is nothing to compare.
  now = before;
  now.values.erase("data");
  EXPECT_EQ(refusal_of(saved, now), "");
}

TEST(Recipe, AKeyThatAnEarlierVersionDidNotKnowIsToldAndNotRefused) {
  base::StateDict saved = state_of({});
  saved.values.erase("loss.temperature");
  saved.values["loss.removed_since"] = std::string("1");
  RunIdentity identity(fields_of({}), {});
  identity.load_state(saved);
  EXPECT_THAT(identity.unrecorded(), ElementsAre("loss.temperature"));
  EXPECT_THAT(identity.unrecorded_text(), HasSubstr("loss.temperature"));
  identity.load_state(state_of({}));
  EXPECT_TRUE(identity.unrecorded().empty());
}

// The state "identity" as the first versions wrote it.
class EarlierRecipe : public ::testing::Test {
 protected:
  EarlierRecipe() {
    config_.run.seed = 3;
    config_.train.num_steps = 6;
    config_.train.micro_batches = 2;
    config_.train.micro_batch_sequences = 2;
    config_.schedules.learning_rate.start = 0.1;
    for (const auto& [name, text] : std::map<std::string, std::string>{
             {"compute_threads", "1"},
             {"data", "phrases vocabulary=65 seed=3"},
             {"global_batch", "4"},
             {"held_out_data", "phrases vocabulary=65 held out"},
             {"model", "config.json=1 model.safetensors=2 as float32"},
             {"num_steps", "6"},
             {"schedules",
              "learning_rate.shape=cosine learning_rate.start=0.10000000000000001 learning_rate.end=0 "
              "learning_rate.warmup_steps=0 alpha.start=1"},
             {"seed", "3"},
             {"tokenizer", "none"},
             {"vocabulary", "65 of 211"}}) {
      saved_.values[name] = text;
    }
  }

  IdentityFields fields() const {
    IdentityFields fields = fields_of(config_);
    fields.values["model"] = "config.json=1 model.safetensors=2";
    fields.values["data"] = fields.values["held_out_data"] = fields.values["tokenizer"] = "none";
    fields.values["vocabulary"] = "65 of 211";
    fields.earlier_form = {{"data", "phrases vocabulary=65 seed=3"},
                           {"held_out_data", "phrases vocabulary=65 held out"},
                           {"global_batch", "4"}};
    return fields;
  }

  RunConfig config_;
  base::StateDict saved_;
};

TEST_F(EarlierRecipe, GoesOnAndSaysWhatNobodyCompares) {
  RunIdentity identity(fields(), {});
  identity.load_state(saved_);
  EXPECT_THAT(identity.unrecorded(),
              AllOf(::testing::Contains("student.sliding_window"),
                    Not(::testing::Contains("schedules.learning_rate.start")), Not(::testing::Contains("run.seed"))));
}

TEST_F(EarlierRecipe, IsComparedAsFarAsItIsKnown) {
  config_.schedules.learning_rate.start = 0.2;
  EXPECT_THAT(refusal_of(saved_, fields()), HasSubstr("--accept-changed schedules.learning_rate.start;"));
  EXPECT_EQ(refusal_of(saved_, fields(), {"schedules"}), "");
  config_.schedules.learning_rate.start = 0.1;
  config_.run.seed = 4;
  EXPECT_THAT(refusal_of(saved_, fields()), HasSubstr("run.seed: the checkpoint has '3', this run has '4'"));
  EXPECT_EQ(refusal_of(saved_, fields(), {"seed"}), "");
  config_.run.seed = 3;
  config_.model.compute_dtype = "bfloat16";
  EXPECT_THAT(refusal_of(saved_, fields()), HasSubstr("--accept-changed model.compute_dtype;"));
  config_.model.compute_dtype = "float32";
  for (const char* name : {"data", "held_out_data", "global_batch"}) {
    IdentityFields now = fields();
    now.earlier_form[name] = "8";
    EXPECT_THAT(refusal_of(saved_, now), HasSubstr(base::concat("--accept-changed ", name, ";")));
    EXPECT_EQ(refusal_of(saved_, now, {name}), "");
  }
  IdentityFields now = fields();
  now.values["model"] = "config.json=1 model.safetensors=3";
  EXPECT_THAT(refusal_of(saved_, now), HasSubstr("--accept-changed model;"));
}

TEST_F(EarlierRecipe, ItsConfigurationTellsWhatItsStateDoesNot) {
  const auto known = recipe_values(config_);
  config_.student.sliding_window += 1;
  RunIdentity identity(fields(), {});
  identity.set_known(known);
  try {
    identity.load_state(saved_);
    FAIL() << "no error";
  } catch (const base::CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--accept-changed student.sliding_window;"));
  }
  EXPECT_THAT(identity.unrecorded(), ElementsAre());
}

TEST_F(EarlierRecipe, OfAModelFromScratchIsComparedKeyByKey) {
  const auto sizes = std::string("from scratch: vocab_size=") + std::to_string(config_.model.architecture.vocab_size) +
                     " hidden_size=" + std::to_string(config_.model.architecture.hidden_size);
  saved_.values["model"] = sizes;
  IdentityFields now = fields();
  now.values["model"] = "from scratch";
  EXPECT_EQ(refusal_of(saved_, now), "");
  now.values["model.architecture.hidden_size"] = "7";
  EXPECT_THAT(refusal_of(saved_, now), HasSubstr("--accept-changed model.architecture.hidden_size;"));
}

class Silent : public TrainingObserver {
 public:
  void on_start(int64_t, int64_t) override {}
  void on_step(const StepMetrics&) override { ++num_steps; }
  void on_evaluation(const EvaluationMetrics&) override {}
  void on_checkpoint(int64_t, const fs::path& folder) override { last_checkpoint = folder; }
  void on_notice(const std::string& text) override { notices += text + "\n"; }
  void on_end() override {}

  int64_t num_steps = 0;
  fs::path last_checkpoint;
  std::string notices;
};

class RecipeRun : public ::testing::Test {
 protected:
  RecipeRun() {
    at::set_num_threads(1);
    fs::copy(fs::path(ROSA_TEST_DATA) / "goldens" / "qwen3_tied", folder_ / "model");
    config_.run.folder = (folder_ / "run").string();
    config_.model.folder = (folder_ / "model").string();
    config_.student.sliding_window = 6;
    config_.adapter = models::plain_adapter_config();
    config_.adapter.num_heads = 4;
    config_.adapter.query_key_bits = 4;
    config_.adapter.value_bits = 4;
    config_.data.kind = DataKind::phrases;
    config_.data.sequence_length = 24;
    config_.data.min_phrase_length = 3;
    config_.data.max_phrase_length = 4;
    config_.train.num_steps = 6;
    config_.evaluation = {.every = 0, .num_sequences = 2};
  }

  // Trains so many steps more; returns what was refused.
  std::string train(const RunConfig& config, int64_t num_steps, const std::set<std::string>& accepted = {},
                    Objective objective = Objective::distill) {
    const auto single = parallel::make_single_communicator();
    observer_ = {};
    const RunContext context{.communicator = *single,
                             .observer = observer_,
                             .stop_requested = [&] { return observer_.num_steps >= num_steps; },
                             .resolved_config = "text",
                             .accept_changed = accepted};
    try {
      train_run(config, objective, context);
      return "";
    } catch (const base::Error& error) {
      return error.what();
    }
  }

  std::map<std::string, std::vector<std::byte>> adapter() const {
    std::map<std::string, std::vector<std::byte>> tensors;
    for (const auto& [name, tensor] : Checkpoint(observer_.last_checkpoint).state(kAdapterState).tensors) {
      tensors[name] = tensor.bytes;
    }
    return tensors;
  }

  // What loading the weights for evaluation says; empty: nothing.
  std::string load_weights(const RunConfig& config, const std::set<std::string>& accepted = {}) {
    const auto single = parallel::make_single_communicator();
    try {
      RunObjects objects = build_run(config, Objective::distill, *single, {.training = false, .held_out = false});
      load_trained_weights(config, objects, {.accepted = accepted});
      return "";
    } catch (const base::Error& error) {
      return error.what();
    }
  }

  void replace_model() const {
    std::fstream weights(folder_ / "model/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    weights.seekp(-2, std::ios::end);
    weights.put('\1').flush();
  }

  const testing::TemporaryFolder folder_;
  RunConfig config_;
  Silent observer_;
};

TEST_F(RecipeRun, AnotherWindowLossOrOptimiserIsRefused) {
  ASSERT_EQ(train(config_, 1), "");
  RunConfig other = config_;
  other.student.sliding_window = 5;
  other.loss.temperature = 2;
  other.optimizer.weight_decay = 0;
  const std::string flag = "loss.temperature,optimizer.weight_decay,student.sliding_window";
  EXPECT_THAT(train(other, 1), HasSubstr("--accept-changed " + flag + ";"));
  EXPECT_EQ(train(other, 1, {"loss", "optimizer.weight_decay", "student.sliding_window"}), "");
  EXPECT_THAT(observer_.notices, HasSubstr("accepted a change: loss.temperature"));
  EXPECT_EQ(train(other, 1), "") << "what was accepted is recorded";
}

// A run that was begun when recipe rosa_soft was another one.
TEST_F(RecipeRun, TheRefusalNamesTheRecipeOfBefore) {
  ASSERT_EQ(train(config_, 1), "");
  RunConfig other = config_;
  other.recipe = "rosa_soft";
  other.loss.distill_alpha = 0;
  EXPECT_THAT(train(other, 1), AllOf(HasSubstr("--accept-changed loss.distill_alpha;"),
                                     HasSubstr("what recipe rosa_soft was before is recipe rosa_soft_20251121 now")));
}

TEST_F(RecipeRun, TrainedLayersDoNotVanish) {
  ASSERT_EQ(train(config_, 2), "");
  const auto before = adapter();
  RunConfig fewer = config_;
  fewer.adapter.layers = {0};
  EXPECT_THAT(train(fewer, 1), HasSubstr("--accept-changed adapter.layers;"));
  ASSERT_EQ(train(fewer, 1, {"adapter.layers"}), "");
  EXPECT_LT(adapter().size(), before.size());
  EXPECT_EQ(train(fewer, 1), "") << "the new set goes on";
  ASSERT_EQ(train(config_, 1, {"adapter.layers"}), "") << "layers that the checkpoint lacks start anew";
  EXPECT_EQ(adapter().size(), before.size());
}

TEST_F(RecipeRun, TensorsOfOneSideOnlyAreRefusedByName) {
  ASSERT_EQ(train(config_, 1), "");
  const Checkpoint checkpoint(observer_.last_checkpoint);
  const auto single = parallel::make_single_communicator();
  RunConfig fewer = config_;
  fewer.adapter.layers = {0};
  const auto refusal = [&](const RunConfig& config, const std::string& state) -> std::string {
    RunObjects objects = build_run(config, Objective::distill, *single);
    Trainer trainer(config, objects.parts(*single));
    try {
      checkpoint.load({{state, trainer.state().at(state)}});
      return "";
    } catch (const base::CheckpointError& error) {
      return error.what();
    }
  };
  EXPECT_EQ(refusal(config_, "adapter"), "");
  EXPECT_EQ(refusal(config_, "optimizer"), "");
  EXPECT_THAT(refusal(fewer, "adapter"), HasSubstr("only the checkpoint has: model.layers.1"));
  EXPECT_THAT(refusal(fewer, "optimizer"), HasSubstr("only the checkpoint has: model.layers.1"));
  RunConfig frozen = config_;
  frozen.optimizer.rate_patterns = {"*.q_proj.*"};
  frozen.optimizer.rate_factors = {0.0};
  EXPECT_THAT(refusal(frozen, "optimizer"),
              AllOf(HasSubstr("q_proj.weight.first_moment"), Not(HasSubstr("only this"))));
  RunConfig wider = config_;
  wider.adapter.num_heads = 8;
  EXPECT_THAT(refusal(wider, "adapter"), HasSubstr("other shapes"));
  EXPECT_THAT(refusal(wider, "optimizer"), HasSubstr("other shapes"));
}

TEST_F(RecipeRun, AdapterWeightsThatPretrainingHasNoUseForAreRefused) {
  config_.train.init_from = (folder_ / "adapter.safetensors").string();
  config_.train.trainable = {"*"};
  EXPECT_THAT(train(config_, 1, {}, Objective::pretrain), HasSubstr("train.init_from: is "));
}

TEST_F(RecipeRun, AWarmStartTakesNoWeightsOfOtherSymbolsOrLayers) {
  ASSERT_EQ(train(config_, 1), "");
  RunConfig warm = config_;
  warm.run.folder = (folder_ / "warm").string();
  warm.train.init_from = config_.run.folder;
  ASSERT_EQ(train(warm, 1), "");
  warm.run.folder = (folder_ / "other").string();
  warm.adapter.layers = {0};
  EXPECT_THAT(train(warm, 1), HasSubstr("unexpected tensors: model.layers.1"));
  warm.adapter.layers = {};
  warm.adapter.num_heads = 8;
  warm.adapter.query_key_bits = warm.adapter.value_bits = 2;  // the same shapes
  EXPECT_THAT(train(warm, 1), HasSubstr("was trained with adapter.query_key_bits 4, this run has 2"));
  warm.adapter = config_.adapter;
  warm.adapter.place = models::AdapterPlace::mlp;  // no weight tells
  EXPECT_THAT(train(warm, 1), HasSubstr("was trained with adapter.place attention, this run has mlp"));
}

// A whole model with adapters: accelerate's file as rosa_soft saves it, a folder of shards, and what is no such thing.
TEST_F(RecipeRun, AWarmStartTakesTheAdaptersOutOfAWholeModel) {
  ASSERT_EQ(train(config_, 1), "");
  const auto trained = adapter();
  models::TensorMap whole = models::read_tensors(folder_ / "model" / "model.safetensors");
  for (auto& [name, tensor] : models::read_tensors(Checkpoint(observer_.last_checkpoint).folder() / kAdapterFile)) {
    whole[name] = tensor;
  }
  fs::create_directories(folder_ / "soft");
  models::write_tensors(folder_ / "soft" / "model.safetensors", whole);
  std::vector<std::string> lines;
  base::LogOptions log;
  log.console = [&](const std::string& line) { lines.push_back(line); };
  const auto start = [&](const fs::path& source) {
    RunConfig warm = config_;
    fs::remove_all(folder_ / "warm");
    warm.run.folder = (folder_ / "warm").string();
    warm.train.init_from = source.string();
    warm.schedules.learning_rate.start = 0.0;
    warm.schedules.learning_rate.shape = ScheduleShape::constant;
    lines.clear();
    base::start_log(log);
    const std::string refused = train(warm, 1);
    base::start_log({});
    return refused;
  };
  for (const char* source : {"soft", "soft/model.safetensors"}) {
    EXPECT_EQ(start(folder_ / source), "");
    EXPECT_EQ(adapter(), trained) << source;
    EXPECT_THAT(lines, Contains(AllOf(HasSubstr("belong to no adapter and are not used: "),
                                      HasSubstr("model.embed_tokens.weight"))));
  }
  fs::copy_file(folder_ / "model" / "config.json", folder_ / "soft" / "config.json");
  const std::string text = base::read_file(folder_ / "soft" / "config.json", 1 << 20);
  base::write_file_atomically(folder_ / "soft" / "config.json", "{\"rosa_query_key_bits\": 2," + text.substr(1));
  EXPECT_THAT(start(folder_ / "soft"), HasSubstr("query_key_bits is 2"));
  fs::remove(folder_ / "soft" / "config.json");
  EXPECT_THAT(start(folder_ / "model"), HasSubstr("holds no adapter"));
  EXPECT_THAT(start(folder_ / "run" / "no"), HasSubstr("does not exist"));
}

TEST_F(RecipeRun, WeightsAreNotScoredOnAnotherModel) {
  ASSERT_EQ(train(config_, 1), "");
  EXPECT_EQ(load_weights(config_), "");
  RunConfig other = config_;
  other.student.sliding_window = 5;
  EXPECT_THAT(load_weights(other), HasSubstr("--accept-changed student.sliding_window;"));
  EXPECT_EQ(load_weights(other, {"student.sliding_window"}), "");
  other = config_;
  other.schedules.alpha.start = 0.5;
  other.train.num_steps = 100;
  EXPECT_EQ(load_weights(other), "") << "of no matter for weights that are trained";
  std::ofstream(folder_ / "model/tokenizer.json") << "{}";
  EXPECT_THAT(load_weights(config_), HasSubstr("--accept-changed tokenizer;"));
  replace_model();
  EXPECT_THAT(load_weights(config_), HasSubstr("--accept-changed model,tokenizer;"));
  EXPECT_EQ(load_weights(config_, {"model", "tokenizer"}), "");
  // A file of adapter weights has no identity of its own: the run's newest checkpoint has.
  other = config_;
  fs::copy_file(observer_.last_checkpoint / "adapter.safetensors", folder_ / "copy.safetensors");
  other.checkpoint.resume = (folder_ / "copy.safetensors").string();
  EXPECT_THAT(load_weights(other), HasSubstr("--accept-changed model,tokenizer;"));
  EXPECT_EQ(load_weights(other, {"model", "tokenizer"}), "");
  other.adapter.layers = {0};
  EXPECT_THAT(load_weights(other, {"model", "tokenizer", "adapter.layers"}), HasSubstr("unexpected tensors"));
}

TEST_F(RecipeRun, HeldOutDataIsReadOnlyWhereARunEvaluates) {
  std::ofstream(folder_ / "text.txt") << std::string(2000, 'a') + "\n" + std::string(2000, 'b');
  config_.data.kind = DataKind::crops;
  config_.data.train_path = (folder_ / "text.txt").string();
  config_.data.held_out_path = (folder_ / "missing.txt").string();
  EXPECT_EQ(train(config_, 1), "");
  config_.evaluation.every = 1;
  EXPECT_THAT(train(config_, 1), HasSubstr("missing.txt"));
  config_.data.held_out_path = config_.data.train_path;
  EXPECT_EQ(train(config_, 1), "") << "evaluation begins later";
}

}  // namespace
}  // namespace rosa::training
