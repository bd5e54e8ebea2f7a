#include "training/config.h"

#include <iterator>
#include <set>

#include "base/error.h"
#include "rosa/operator/qkv_estimator.h"

namespace rosa::training {

using base::Role;

void describe(base::FieldVisitor& visitor, RunSection& config) {
  visitor.path("folder", config.folder, Role::place,
               "run folder: checkpoints, metrics.jsonl, logs and config.yaml go here");
  visitor.field("seed", config.seed, Role::recipe, "seed of initialisation and data order", {0});
}

void describe(base::FieldVisitor& visitor, ModelSection& config) {
  visitor.path("folder", config.folder, Role::place,
               "Hugging Face folder of the base model: Qwen3, Qwen2 or Llama (config.json, safetensors)");
  visitor.field("from_scratch", config.from_scratch, Role::recipe,
                "pretrain only: start from random weights of `architecture` instead of folder");
  visitor.section("architecture", config.architecture, "sizes of a model that starts from random weights");
  visitor.field("compute_dtype", config.compute_dtype, Role::recipe,
                "dtype of base weights and activations; adapters are always float32", {"float32", "bfloat16"});
}

void describe(base::FieldVisitor& visitor, TeacherSection& config) {
  visitor.path("folder", config.folder, Role::place,
               "Hugging Face folder of another model to learn from, of any size and family with the same vocabulary; "
               "empty: the base model itself, with global attention");
  visitor.field("compute_dtype", config.compute_dtype, Role::recipe,
                "dtype of that model's weights and activations; same: as model.compute_dtype",
                {"same", "float32", "bfloat16"});
}

void describe(base::FieldVisitor& visitor, StudentSection& config) {
  visitor.number_or_list("sliding_window", config.sliding_window, config.layer_windows, Role::recipe,
                         "attention window of the student: position t sees t-w+1 ... t; one number, or a list with one "
                         "for each layer (0: global attention)",
                         {1, int64_t{1} << 31}, {0, int64_t{1} << 31});
  if (!config.layer_windows.empty()) {
    config.sliding_window =
        std::max(int64_t{1}, *std::max_element(config.layer_windows.begin(), config.layer_windows.end()));
  }
  visitor.field("global_layers", config.global_layers, Role::recipe,
                "layers that keep global attention, counted from 0, e.g. [0, 27]", {0, 1 << 20});
  visitor.field("sink_tokens", config.sink_tokens, Role::recipe,
                "first tokens of a text (of a document) that every window sees besides (attention sinks)",
                {0, 1 << 20});
}

std::vector<int64_t> windows_of_layers(const StudentSection& config, int64_t num_layers) {
  if (config.layer_windows.empty() && config.global_layers.empty()) return {};
  std::vector<int64_t> windows = config.layer_windows;
  if (windows.empty()) windows.assign(static_cast<size_t>(num_layers), config.sliding_window);
  for (const int64_t layer : config.global_layers) windows.at(static_cast<size_t>(layer)) = 0;
  return windows;
}

bool is_global(const StudentSection& config, int64_t num_layers) {
  const std::vector<int64_t> windows = windows_of_layers(config, num_layers);
  return !windows.empty() && *std::max_element(windows.begin(), windows.end()) == 0;
}

void describe(base::FieldVisitor& visitor, EarlyStopSection& config) {
  visitor.field("patience", config.patience, Role::free,
                "the run ends after so many evaluations in a row of which none is better than the best before; 0: off",
                {0, base::kMaxSteps});
  visitor.field("figure", config.figure, Role::free,
                "what is better: a figure of evaluation.suite, as in needle/exact; empty: a lower cross-entropy");
  visitor.field("min_delta", config.min_delta, Role::free, "better by no more than this does not count", {0.0, 1e9});
}

void describe(base::FieldVisitor& visitor, TrainSection& config) {
  visitor.field("num_epochs", config.num_epochs, Role::recipe,
                "how often the run goes through its token file, fractions allowed, in the place of num_steps; 0: as "
                "num_steps says",
                {0.0, 1e6});
  visitor.field("num_steps", config.num_steps, Role::recipe, "optimiser steps of the run; 0 where num_epochs is given",
                {0, base::kMaxSteps});
  visitor.field("micro_batch_sequences", config.micro_batch_sequences, Role::recipe,
                "sequences of one forward and backward; part of the recipe, whatever the number of ranks",
                {1, 1 << 16});
  visitor.field("micro_batches", config.micro_batches, Role::recipe,
                "micro-batches of one global batch, shared out over the ranks in contiguous runs", {1, 1 << 16});
  visitor.field("trainable", config.trainable, Role::recipe,
                "patterns of the names of trained parameters (* stands for any text); projections that make fixed "
                "hashes (adapter.estimator none) are not trained, whatever matches them");
  visitor.field(
      "trainable_base", config.trainable_base, Role::recipe,
      "patterns of the names of base weights that are trained beside the adapters, e.g. [\"*.mlp.*\"]; empty: "
      "the base is frozen");
  visitor.path(
      "init_from", config.init_from, Role::free,
      "adapter weights to start from (adapter.safetensors, a checkpoint, a run folder, or a whole student: an exported "
      "folder, rosa_soft's model.safetensors); "
      "the schedule starts anew");
  using models::ActivationCheckpointing;
  visitor.earlier_spellings("activation_checkpointing", {{"true", "full"}, {"false", "none"}});
  visitor.choice("activation_checkpointing", config.activation_checkpointing, Role::place,
                 {{"none", ActivationCheckpointing::none},
                  {"full", ActivationCheckpointing::full},
                  {"mlp", ActivationCheckpointing::mlp},
                  {"attention", ActivationCheckpointing::attention}},
                 "what of each layer is computed again in the backward instead of being kept: nothing, all of it, its "
                 "MLP, or its self-attention");
  visitor.field(
      "sequence_chunk", config.sequence_chunk, Role::recipe,
      "everything local along a sequence (norms, projections, attention in the window, adapters, MLP) in "
      "pieces of so many positions, computed again in the backward, for sequences whose activations do not "
      "fit; the same gradients but for rounding. Least is kept with activation_checkpointing full. 0: whole. "
      "Proxies and flips still take time quadratic in the length: for long sequences take adapter.estimator none",
      {0, int64_t{1} << 30});
  visitor.section("early_stop", config.early_stop, "ends a run whose evaluations no longer get better");
}

void describe(base::FieldVisitor& visitor, SchedulesSection& config) {
  visitor.section("learning_rate", config.learning_rate, "learning rate");
  visitor.section("alpha", config.alpha, "share of the hard operator in the training forward");
  visitor.section("bits_tau", config.bits_tau, "temperature of the bits in the proxy");
  visitor.section("attn_tau", config.attn_tau, "temperature of the proxy's softmax");
}

void describe(base::FieldVisitor& visitor, EvaluationSection& config) {
  visitor.field("every", config.every, Role::free,
                "steps between evaluations with the hard operator; 0: none during training", {0, base::kMaxSteps});
  visitor.field("at_start", config.at_start, Role::free,
                "whether a new run is evaluated before its first step too, as step 0 (every 0: it is not)");
  visitor.field("num_sequences", config.num_sequences, Role::free,
                "held-out sequences of one evaluation; a file that makes no more of them is scored once from end to "
                "end, as all says",
                {base::kAll, 10'000'000});
  visitor.field("suite", config.suite, Role::free,
                "long-context tasks that evaluations run too, on the student: quick, standard, long, or a YAML file "
                "(docs/evaluation.md); empty: none");
  visitor.field("suite_every", config.suite_every, Role::free,
                "of the evaluations, those whose step is a multiple of it run the suite; 0: all", {0, base::kMaxSteps});
  visitor.field("samples", config.samples, Role::free,
                "held-out texts whose beginning the student continues greedily at each evaluation, for people to read; "
                "0: none",
                {0, 1000});
  visitor.field("sample_prompt_tokens", config.sample_prompt_tokens, Role::free,
                "tokens that such a continuation is given, at most", {1, 1 << 20});
  visitor.field("sample_tokens", config.sample_tokens, Role::free, "tokens of such a continuation", {1, 1 << 16});
}

void describe(base::FieldVisitor& visitor, CheckpointSection& config) {
  visitor.field("every", config.every, Role::place, "steps between checkpoints; the last step is always saved",
                {1, base::kMaxSteps});
  visitor.field("keep_last", config.keep_last, Role::place, "newest checkpoints kept; 0: all", {0, base::kMaxSteps});
  visitor.field("keep_every", config.keep_every, Role::place,
                "checkpoints whose step is a multiple of it are kept too; 0: none", {0, base::kMaxSteps});
  visitor.field("keep_best", config.keep_best, Role::place,
                "this many checkpoints with the best evaluation are kept too; counts those of steps that are evaluated "
                "(evaluation.every)",
                {0, base::kMaxSteps});
  visitor.field("best_by", config.best_by, Role::place,
                "what is best: a figure of evaluation.suite, as in needle/exact; empty: the lowest cross-entropy");
  visitor.field("max_failed_saves", config.max_failed_saves, Role::place,
                "saves in a row that may fail (a full disk) with a warning before the run ends; the last save of a run "
                "must succeed",
                {0, base::kMaxSteps});
  visitor.path(
      "resume", config.resume, Role::place,
      "auto: go on from the newest complete checkpoint of the run folder; none: start anew in an empty "
      "folder; or one checkpoint, by its folder or its name in the run: go back to it once, and set later ones "
      "aside");
}

void describe(base::FieldVisitor& visitor, LoggingSection& config) {
  visitor.field("every", config.every, Role::place, "steps between lines of metrics.jsonl", {1, base::kMaxSteps});
  visitor.field("consumed_samples", config.consumed_samples, Role::place,
                "write the numbers of the samples that each rank consumes to consumed/ in the run folder");
  visitor.field("tensorboard", config.tensorboard, Role::place,
                "write the numbers of metrics.jsonl for TensorBoard too, to tensorboard/ in the run folder");
  visitor.field("command", config.command, Role::place,
                "a command for /bin/sh that gets each line of metrics.jsonl on its standard input (docs/trackers.md)");
  visitor.field("peak_tflops", config.peak_tflops, Role::place,
                "what one rank's device can do at most in model.compute_dtype, in 10^12 floating-point operations a "
                "second, for flop_use in the metrics; 0: not known",
                {0.0, 1e9});
}

void describe(base::FieldVisitor& visitor, ComputeSection& config) {
  visitor.field("device", config.device, Role::place, "auto: a GPU where the build and the machine have one",
                {"auto", "cpu", "cuda"});
  visitor.field("threads", config.threads, Role::recipe,
                "compute threads of a rank; part of the recipe, since results depend on it in the last bit", {1, 1024});
  visitor.field(
      "automaton_threads", config.automaton_threads, Role::place,
      "matching threads of a rank; 0: its share of the cores of the node less its compute threads, at least 1",
      {0, 1024});
  visitor.field("tf32", config.tf32, Role::recipe,
                "whether a GPU may round the factors of float32 matrix products to TF32 (10 bits of mantissa): faster, "
                "less exact; no effect on a CPU, and none on bfloat16");
}

void describe(base::FieldVisitor& visitor, FailuresSection& config) {
  describe(visitor, config.watchdog);
  describe(visitor, config.step_guard);
  visitor.field("drift_every", config.drift_every, Role::place,
                "steps between comparisons of the ranks' weights, which must be equal; also before each save; 0: none",
                {0, base::kMaxSteps});
}

void describe(base::FieldVisitor& visitor, RunConfig& config) {
  visitor.field("recipe", config.recipe, Role::free,
                "where the defaults come from. default: the best by evidence; rosa_soft: the defaults of rosa_soft's "
                "trainer, with its minirosa; rosa_soft_20251121: the same with its operator of that version",
                {std::begin(kRecipes), std::end(kRecipes)});
  visitor.section("run", config.run, "the run");
  visitor.section("model", config.model, "the base model: frozen weights of the student, and the teacher");
  visitor.section("teacher", config.teacher, "a teacher of its own, instead of the base model");
  visitor.section("student", config.student, "what distinguishes the student from the teacher, besides the adapters");
  visitor.section("adapter", config.adapter, "the ROSA adapters");
  visitor.section("data", config.data, "training and evaluation data");
  visitor.section("train", config.train, "the loop");
  visitor.section("lora", config.lora, "low-rank adaptation of the base model's projections, in the student only");
  visitor.section("loss", config.loss, "the loss");
  visitor.section("optimizer", config.optimizer, "AdamW");
  visitor.section("schedules", config.schedules, "quantities that depend on the step");
  visitor.section("evaluation", config.evaluation, "evaluation during training");
  visitor.section("checkpoint", config.checkpoint, "checkpoints and resume");
  visitor.section("logging", config.logging, "metrics");
  visitor.section("failures", config.failures, "what is done when ranks, numbers or replicas fail");
  visitor.section("compute", config.compute, "device and threads");
  visitor.section("parallel", config.parallel, "sums over ranks");
}

const std::string& teacher_dtype(const RunConfig& config) {
  const bool is_own = !config.teacher.folder.empty() && config.teacher.compute_dtype != "same";
  return is_own ? config.teacher.compute_dtype : config.model.compute_dtype;
}

void check(base::ConfigProblems& problems, const FailuresSection& config) { check(problems, config.watchdog); }

void check(base::ConfigProblems& problems, const TrainSection& config) {
  problems.require(config.num_epochs == 0 || config.num_steps == 0, {"num_epochs", "num_steps"}, "is ",
                   config.num_epochs, ", but ", problems.full_key("num_steps"), " is ", config.num_steps,
                   ": give one of the two");
  using models::ActivationCheckpointing;
  problems.require(config.sequence_chunk == 0 || config.activation_checkpointing == ActivationCheckpointing::none ||
                       config.activation_checkpointing == ActivationCheckpointing::full,
                   {"activation_checkpointing", "sequence_chunk"},
                   "names a part of a layer, but with sequence_chunk both parts are computed again anyway; take none, "
                   "or full to keep least");
}

// A quantity of the schedules may take these values at any step.
void check(base::ConfigProblems& problems, const SchedulesSection& config, int64_t num_steps) {
  problems.section("learning_rate", config.learning_rate, num_steps, base::Range<double>{0.0, 10.0});
  problems.section("alpha", config.alpha, num_steps, base::Range<double>{0.0, 1.0});
  problems.section("bits_tau", config.bits_tau, num_steps, base::Range<double>{1e-6, 1e6});
  problems.section("attn_tau", config.attn_tau, num_steps, base::Range<double>{1e-6, 1e6});
}

void check_estimator(base::ConfigProblems& problems, const RunConfig& config) {
  const ScheduleConfig& alpha = config.schedules.alpha;
  const QkvEstimator& estimator = find_qkv_estimator(config.adapter.estimator);
  const bool is_always_hard = alpha.start == 1 && alpha.end == 1 && alpha.warmup_steps == 0;
  problems.require(is_always_hard || estimator.has_soft_output(),
                   {"adapter.estimator", "schedules.alpha.start", "schedules.alpha.end", "schedules.alpha.warmup_steps",
                    "schedules.alpha.shape"},
                   "is ", config.adapter.estimator,
                   ", which has no soft output to blend in, but schedules.alpha goes from ", alpha.start, " to ",
                   alpha.end,
                   "; set schedules.alpha start and end to 1 and warmup_steps to 0, or take sufa or soft_rosa");
  problems.require(
      !config.loss.has_code_losses() || config.adapter.query_key_gradient,
      {config.loss.code_balance > 0 ? "loss.code_balance" : "loss.code_consistency", "adapter.query_key_gradient"},
      "is for queries and keys that learn, but adapter.query_key_gradient is false; set one of the two "
      "otherwise");
  for (const DataStage& stage : stages(config.data)) {
    problems.require(stage.sequence_length <= estimator.max_length(), {"data.sequence_length", "adapter.estimator"},
                     "is ", stage.sequence_length, ", but adapter.estimator ", config.adapter.estimator,
                     " takes at most ", estimator.max_length(), " positions");
  }
}

namespace {

// Products that memory and 64 bits must hold.
void check_sizes(base::ConfigProblems& problems, const RunConfig& config) {
  constexpr double kMaxForwardTokens = 1 << 24, kMaxStepTokens = 1 << 28;
  const auto sequences = static_cast<double>(config.train.micro_batch_sequences);
  const auto micro_batches = static_cast<double>(config.train.micro_batches);
  std::set<int64_t> lengths;
  for (const DataStage& stage : stages(config.data)) lengths.insert(stage.sequence_length);
  const auto length = static_cast<double>(*lengths.rbegin());
  const bool fits = sequences * length <= kMaxForwardTokens;
  problems.require(fits, {"train.micro_batch_sequences", "data.sequence_length", "data.curriculum_sequence_lengths"},
                   "is ", config.train.micro_batch_sequences, ", which makes a forward of ", sequences * length,
                   " tokens; expected at most ", kMaxForwardTokens);
  problems.require(!fits || sequences * micro_batches * length <= kMaxStepTokens,
                   {"train.micro_batches", "train.micro_batch_sequences", "data.sequence_length"}, "is ",
                   config.train.micro_batches, ", which makes a step of ", sequences * micro_batches * length,
                   " tokens; expected at most ", kMaxStepTokens);
}

// What needs the number of steps waits where train.num_epochs decides it, until the data is known.
void check_length(base::ConfigProblems& problems, const RunConfig& config) {
  if (config.train.num_steps > 0) problems.section("schedules", config.schedules, config.train.num_steps);
  if (config.train.num_epochs == 0) return;
  const bool is_one_file = config.data.kind == DataKind::token_file && config.data.sources.empty();
  problems.require(is_one_file, {"train.num_epochs", "data.kind", "data.sources"},
                   "needs data.kind token_file and a single file: other data is drawn at random or mixed, and has no "
                   "epochs; give train.num_steps");
  problems.require(!is_one_file || stages(config.data).size() == 1, {"train.num_epochs", "data.curriculum_until"},
                   "does not go with a curriculum, whose stages are counted in steps; give train.num_steps");
}

void check_paths(base::ConfigProblems& problems, const RunConfig& config) {
  problems.require(!config.run.folder.empty(), {"run.folder"}, "is empty: name the folder that keeps the run");
  problems.require(config.model.from_scratch || !config.model.folder.empty(), {"model.folder", "model.from_scratch"},
                   "is empty: name the Hugging Face folder of the base model");
  problems.require(!config.checkpoint.resume.empty(), {"checkpoint.resume"},
                   "is empty: expected auto, none or the folder of a checkpoint");
}

}  // namespace

void check_data_paths(base::ConfigProblems& problems, const RunConfig& config) {
  if (config.data.kind == DataKind::phrases) return;
  problems.require(!config.data.train_path.empty() || !config.data.sources.empty(), {"data.train_path", "data.kind"},
                   "is empty: name a text or token file");
  problems.require(config.evaluation.every == 0 || !config.data.held_out_path.empty(),
                   {"data.held_out_path", "evaluation.every", "data.kind"},
                   "is empty: name a text or token file, or set evaluation.every to 0");
}

namespace {

void check_has_length(base::ConfigProblems& problems, const TrainSection& train) {
  problems.require(train.num_epochs > 0 || train.num_steps > 0, {"train.num_steps", "train.num_epochs"},
                   "expected an integer from 1 to ", base::kMaxSteps,
                   ", got '0'; or give train.num_epochs in its place");
}

}  // namespace

void check_trained(base::ConfigProblems& problems, const RunConfig& config) {
  check_has_length(problems, config.train);
  problems.section("adapter", config.adapter);
}

void check(base::ConfigProblems& problems, const RunConfig& config) {
  check_paths(problems, config);
  check_has_length(problems, config.train);
  if (config.model.from_scratch) {
    problems.section("model.architecture", config.model.architecture);
  }
  problems.section("adapter", config.adapter);
  problems.section("data", config.data);
  problems.section("train", config.train);
  const bool trains = !config.train.trainable.empty() || !config.train.trainable_base.empty() || config.lora.rank > 0;
  problems.require(trains, {"train.trainable", "train.trainable_base"}, "is empty: nothing would be trained");
  problems.section("lora", config.lora);
  problems.section("loss", config.loss);
  problems.section("optimizer", config.optimizer);
  check_length(problems, config);
  problems.section("failures", config.failures);
  problems.section("parallel", config.parallel, config.compute.device == "cpu");
  check_estimator(problems, config);
  check_sizes(problems, config);
  problems.require(config.checkpoint.keep_best == 0 || config.evaluation.every > 0,
                   {"checkpoint.keep_best", "evaluation.every"},
                   "counts checkpoints of steps that are evaluated, but evaluation.every is 0");
  problems.require(config.evaluation.samples == 0 || config.evaluation.every > 0,
                   {"evaluation.samples", "evaluation.every"}, "are written at evaluations, but evaluation.every is 0");
  problems.require(config.checkpoint.keep_best == 0 || config.checkpoint.best_by.empty() ||
                       config.train.num_steps == 0 || config.evaluation.suite_every <= config.train.num_steps,
                   {"evaluation.suite_every", "checkpoint.best_by", "train.num_steps"}, "got ",
                   config.evaluation.suite_every, ", more than the run has steps, ", config.train.num_steps,
                   ": the suite would never run, and keep_best have nothing to go by");
  problems.require(config.checkpoint.best_by.empty() || !config.evaluation.suite.empty(),
                   {"checkpoint.best_by", "evaluation.suite"}, "is a figure of a suite, but evaluation.suite is empty");
  const EarlyStopSection& early_stop = config.train.early_stop;
  problems.require(early_stop.patience == 0 || config.evaluation.every > 0,
                   {"train.early_stop.patience", "evaluation.every"}, "counts evaluations, but evaluation.every is 0");
  problems.require(early_stop.figure.empty() || !config.evaluation.suite.empty(),
                   {"train.early_stop.figure", "evaluation.suite"},
                   "is a figure of a suite, but evaluation.suite is empty");
}

RunConfig earlier_defaults(RunConfig defaults) {
  models::use_plain_form(defaults.adapter);
  if (defaults.recipe == "default") defaults.adapter = models::plain_adapter_config();
  defaults.optimizer.weight_decay_on = WeightDecayOn::all;
  return defaults;
}

RunConfig recipe_defaults(const std::string& recipe) {
  RunConfig config;
  config.recipe = recipe;
  if (recipe == "default") return config;
  const bool is_trainer = recipe == "rosa_soft";
  base::require<base::ConfigError>(is_trainer || recipe == "rosa_soft_20251121", "unknown recipe '", recipe,
                                   "'; known are default, rosa_soft and rosa_soft_20251121");
  config.adapter = is_trainer ? models::minirosa_adapter_config() : models::rosa_soft_adapter_config();
  config.student.sliding_window = 128;
  config.schedules.learning_rate =
      ScheduleConfig{.shape = ScheduleShape::cosine, .start = 5e-5, .end = 0.0, .warmup_steps = 2000};
  config.schedules.alpha = ScheduleConfig{.shape = ScheduleShape::cosine, .start = 0.0, .end = 1.0, .lag_steps = 1};
  config.logging.every = 10;
  config.evaluation.every = 100;
  config.checkpoint.every = 2000;
  if (!is_trainer) return config;
  config.loss.distill_alpha = 0;
  config.evaluation.at_start = true;
  config.evaluation.num_sequences = 80;  // 10 batches of 8
  config.checkpoint.keep_last = 0;
  config.compute.tf32 = true;
  return config;
}

}  // namespace rosa::training
