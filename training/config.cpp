#include "training/config.h"

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
               "Hugging Face folder of the Qwen3 base model (config.json, safetensors)");
  visitor.field("from_scratch", config.from_scratch, Role::recipe,
                "pretrain only: start from random weights of `architecture` instead of folder");
  visitor.section("architecture", config.architecture, "sizes of a model that starts from random weights");
  visitor.field("compute_dtype", config.compute_dtype, Role::recipe,
                "dtype of base weights and activations; adapters are always float32", {"float32", "bfloat16"});
}

void describe(base::FieldVisitor& visitor, StudentSection& config) {
  visitor.field("sliding_window", config.sliding_window, Role::recipe,
                "attention window of the student: position t sees t-w+1 ... t", {1});
}

void describe(base::FieldVisitor& visitor, TrainSection& config) {
  visitor.field("num_steps", config.num_steps, Role::recipe, "optimiser steps of the run", {1});
  visitor.field("micro_batch_sequences", config.micro_batch_sequences, Role::recipe,
                "sequences of one forward and backward; part of the recipe, whatever the number of ranks", {1});
  visitor.field("micro_batches", config.micro_batches, Role::recipe,
                "micro-batches of one global batch, shared out over the ranks in contiguous runs", {1});
  visitor.field("trainable", config.trainable, Role::recipe,
                "patterns of the names of trained parameters (* stands for any text)");
  visitor.path("init_from", config.init_from, Role::free,
               "adapter weights to start from (adapter.safetensors, a checkpoint or a run folder); "
               "the schedule starts anew");
  visitor.field("activation_checkpointing", config.activation_checkpointing, Role::place,
                "recompute each layer in backward instead of keeping its activations");
}

void describe(base::FieldVisitor& visitor, SchedulesSection& config) {
  visitor.section("learning_rate", config.learning_rate, "learning rate");
  visitor.section("alpha", config.alpha, "share of the hard operator in the training forward");
  visitor.section("bits_tau", config.bits_tau, "temperature of the bits in the proxy");
  visitor.section("attn_tau", config.attn_tau, "temperature of the proxy's softmax");
}

void describe(base::FieldVisitor& visitor, EvaluationSection& config) {
  visitor.field("every", config.every, Role::free,
                "steps between evaluations with the hard operator; 0: none during training", {0});
  visitor.field("num_sequences", config.num_sequences, Role::free,
                "held-out sequences of one evaluation; a file that makes no more of them is scored once from end to "
                "end, as all says",
                {base::kAll, 1'000'000'000});
}

void describe(base::FieldVisitor& visitor, CheckpointSection& config) {
  visitor.field("every", config.every, Role::place, "steps between checkpoints; the last step is always saved", {1});
  visitor.field("keep_last", config.keep_last, Role::place, "newest checkpoints kept; 0: all", {0});
  visitor.field("keep_every", config.keep_every, Role::place,
                "checkpoints whose step is a multiple of it are kept too; 0: none", {0});
  visitor.field("keep_best", config.keep_best, Role::place,
                "this many checkpoints with the lowest evaluation loss are kept too; counts those of steps that are "
                "evaluated (evaluation.every)",
                {0});
  visitor.field("max_failed_saves", config.max_failed_saves, Role::place,
                "saves in a row that may fail (a full disk) with a warning before the run ends; the last save of a run "
                "must succeed",
                {0});
  visitor.path("resume", config.resume, Role::place,
               "auto: go on from the newest complete checkpoint of the run folder; none: start anew in an empty "
               "folder; or the folder of one checkpoint");
}

void describe(base::FieldVisitor& visitor, LoggingSection& config) {
  visitor.field("every", config.every, Role::place, "steps between lines of metrics.jsonl", {1});
  visitor.field("consumed_samples", config.consumed_samples, Role::place,
                "write the numbers of the samples that each rank consumes to consumed/ in the run folder");
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
}

void describe(base::FieldVisitor& visitor, FailuresSection& config) {
  describe(visitor, config.watchdog);
  describe(visitor, config.step_guard);
  visitor.field("drift_every", config.drift_every, Role::place,
                "steps between comparisons of the ranks' weights, which must be equal; also before each save; 0: none",
                {0});
}

void describe(base::FieldVisitor& visitor, RunConfig& config) {
  visitor.field("recipe", config.recipe, Role::free,
                "where the defaults come from: the best by evidence, or rosa_soft's settings",
                {"default", "rosa_soft"});
  visitor.section("run", config.run, "the run");
  visitor.section("model", config.model, "the base model: teacher, and frozen weights of the student");
  visitor.section("student", config.student, "what distinguishes the student from the teacher, besides the adapters");
  visitor.section("adapter", config.adapter, "the ROSA adapters");
  visitor.section("data", config.data, "training and evaluation data");
  visitor.section("train", config.train, "the loop");
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

void check_agreement(const RunConfig& config) {
  const ScheduleConfig& alpha = config.schedules.alpha;
  const bool always_hard = alpha.start == 1 && alpha.end == 1 && alpha.warmup_steps == 0;
  base::require<base::ConfigError>(
      always_hard || find_qkv_estimator(config.adapter.estimator).has_soft_output(), "adapter.estimator is ",
      config.adapter.estimator, ", which has no soft output to blend in, but schedules.alpha goes from ", alpha.start,
      " to ", alpha.end, "; set schedules.alpha start and end to 1 and warmup_steps to 0, or take sufa or soft_rosa");
}

RunConfig recipe_defaults(const std::string& recipe) {
  RunConfig config;
  config.recipe = recipe;
  if (recipe == "default") return config;
  base::require<base::ConfigError>(recipe == "rosa_soft", "unknown recipe '", recipe,
                                   "'; known are default and rosa_soft");
  config.adapter = models::rosa_soft_adapter_config();
  config.student.sliding_window = 128;
  config.schedules.learning_rate =
      ScheduleConfig{.shape = ScheduleShape::cosine, .start = 5e-5, .end = 0.0, .warmup_steps = 2000};
  config.schedules.alpha = ScheduleConfig{.shape = ScheduleShape::cosine, .start = 0.0, .end = 1.0, .lag_steps = 1};
  config.logging.every = 10;
  config.evaluation.every = 100;
  config.checkpoint.every = 2000;
  return config;
}

}  // namespace rosa::training
