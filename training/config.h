// RunConfig: the whole configuration of a run, made of the structs that stand beside each concern, and the recipes
// that give their defaults.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/all_count.h"
#include "base/config_problems.h"
#include "base/fields.h"
#include "models/adapter.h"
#include "models/causal_model.h"
#include "models/model_config.h"
#include "parallel/reduction_config.h"
#include "parallel/watchdog.h"
#include "training/data/data_source.h"
#include "training/losses.h"
#include "training/optimizer.h"
#include "training/schedules.h"
#include "training/step_guard.h"

namespace rosa::training {

struct RunSection {
  std::string folder;  // checkpoints, metrics, logs and the resolved configuration go here
  int64_t seed = 0;
};
void describe(base::FieldVisitor& visitor, RunSection& config);

struct ModelSection {
  std::string folder;         // Hugging Face folder
  bool from_scratch = false;  // pretrain: start from random weights of `architecture` instead
  models::ModelConfig architecture;
  std::string compute_dtype = "float32";  // of the base weights and activations; adapters are always float32
};
void describe(base::FieldVisitor& visitor, ModelSection& config);

struct TeacherSection {
  std::string folder;                  // Hugging Face folder; empty: the base model itself, with global attention
  std::string compute_dtype = "same";  // as the base model's, or a dtype of its own
};
void describe(base::FieldVisitor& visitor, TeacherSection& config);

struct StudentSection {
  int64_t sliding_window = 128;             // position t sees t-w+1 ... t; of a list, the largest
  std::vector<int64_t> layer_windows = {};  // of each layer, 0: all; empty: sliding_window in every layer
  std::vector<int64_t> global_layers = {};  // these keep global attention
  int64_t sink_tokens = 0;                  // first tokens of a text that every window sees
};
void describe(base::FieldVisitor& visitor, StudentSection& config);
// What each layer sees, 0: all. Empty: sliding_window, in every layer.
std::vector<int64_t> windows_of_layers(const StudentSection& config, int64_t num_layers);
// Whether all layers see all: there is no student then.
bool is_global(const StudentSection& config, int64_t num_layers);

// Ends a run whose evaluations no longer get better; see early_stop.h.
struct EarlyStopSection {
  int64_t patience = 0;    // evaluations in a row without a better figure; 0: off
  std::string figure;      // of evaluation.suite, "needle/exact"; empty: the evaluation's cross-entropy
  double min_delta = 0.0;  // better by no more than this does not count
};
void describe(base::FieldVisitor& visitor, EarlyStopSection& config);

// Low-rank adaptation of the base model's projections, in the student only; see lora.h.
struct LoraSection {
  int64_t rank = 0;  // 0: off
  double alpha = 16.0;
  std::vector<std::string> patterns = {};  // of the weights that get a pair
};
void describe(base::FieldVisitor& visitor, LoraSection& config);
void check(base::ConfigProblems& problems, const LoraSection& config);

struct TrainSection {
  double num_epochs = 0.0;  // in the place of num_steps, which is 0 then; see run_length.h
  int64_t num_steps = 2000;
  int64_t micro_batch_sequences = 1;  // sequences of one forward and backward
  int64_t micro_batches = 1;          // of one global batch, over all ranks
  std::vector<std::string> trainable = {"*.rosa_attn.*"};
  std::vector<std::string> trainable_base = {};  // of the base model, beside adapters; see trained_base.h
  std::vector<std::string> base_of_run = {};     // no key: what any stage of the run trains of it
  std::string init_from;                         // adapter.safetensors, a checkpoint or a run folder: weights only
  models::ActivationCheckpointing activation_checkpointing = models::ActivationCheckpointing::none;
  EarlyStopSection early_stop;
  int64_t sequence_chunk = 0;  // positions; ForwardOptions::sequence_chunk
};
void describe(base::FieldVisitor& visitor, TrainSection& config);
void check(base::ConfigProblems& problems, const TrainSection& config);

struct SchedulesSection {
  ScheduleConfig learning_rate{.shape = ScheduleShape::cosine, .start = 1e-3, .end = 0.0};
  ScheduleConfig alpha{.start = 1.0};
  ScheduleConfig bits_tau{.start = 1.0};
  ScheduleConfig attn_tau{.start = 1.0};
};
void describe(base::FieldVisitor& visitor, SchedulesSection& config);
void check(base::ConfigProblems& problems, const SchedulesSection& config, int64_t num_steps);

struct EvaluationSection {
  int64_t every = 100;         // steps; 0: only where asked for
  bool at_start = false;       // also before the first step, as step 0; not with every 0
  int64_t num_sequences = 64;  // held-out sequences of one evaluation, or base::kAll
  std::string suite = {};      // run beside it (training/suite): a name or a file; empty: none
  int64_t suite_every = 0;     // steps; 0: at every evaluation
  int64_t samples = 0;         // texts continued at each evaluation; see text_samples.h
  int64_t sample_prompt_tokens = 64, sample_tokens = 64;
};
void describe(base::FieldVisitor& visitor, EvaluationSection& config);

struct CheckpointSection {
  int64_t every = 500;           // steps; the last step is always saved
  int64_t keep_last = 2;         // older ones are removed; 0: all are kept
  int64_t keep_every = 0;        // those whose step is a multiple of it stay; 0: none for that
  int64_t keep_best = 0;         // those with the best evaluation stay
  std::string best_by = {};      // a figure of evaluation.suite, "needle/exact"; empty: the evaluation's cross-entropy
  int64_t max_failed_saves = 3;  // in a row, before the run ends
  std::string resume = "auto";   // auto, none, or a checkpoint folder
};
void describe(base::FieldVisitor& visitor, CheckpointSection& config);

struct ComputeSection {
  std::string device = "auto";    // auto, cpu, cuda
  int64_t threads = 1;            // compute threads of a rank; part of the recipe: bits depend on it
  int64_t automaton_threads = 0;  // matching threads of a rank; 0: the rank's share of the node's cores, less `threads`
  bool tf32 = false;              // on a GPU: float32 matrix products take TF32
};
void describe(base::FieldVisitor& visitor, ComputeSection& config);

struct LoggingSection {
  int64_t every = 10;             // steps between lines of metrics.jsonl
  bool consumed_samples = false;  // see ConsumedLog
  bool tensorboard = false;       // see tensorboard::Writer
  std::string command;            // gets the lines of metrics.jsonl; see Tracker
  double peak_tflops = 0.0;       // of one rank's device, in the compute dtype; 0: not known
};
void describe(base::FieldVisitor& visitor, LoggingSection& config);

struct FailuresSection {
  parallel::WatchdogConfig watchdog;
  StepGuardConfig step_guard;
  int64_t drift_every = 100;  // steps between comparisons of the ranks' weights; 0: none
};
void describe(base::FieldVisitor& visitor, FailuresSection& config);
void check(base::ConfigProblems& problems, const FailuresSection& config);

struct RunConfig {
  std::string recipe = "default";
  RunSection run;
  ModelSection model;
  TeacherSection teacher;
  StudentSection student;
  models::AdapterConfig adapter;
  DataConfig data;
  TrainSection train;
  LoraSection lora;
  LossConfig loss;
  OptimizerConfig optimizer;
  SchedulesSection schedules;
  EvaluationSection evaluation;
  CheckpointSection checkpoint;
  LoggingSection logging;
  FailuresSection failures;
  ComputeSection compute;
  parallel::ParallelConfig parallel;
};
void describe(base::FieldVisitor& visitor, RunConfig& config);

// What no model and no data could make right: the rules of all sections, those between them, and the values of every
// schedule along the whole run.
void check(base::ConfigProblems& problems, const RunConfig& config);

// Of the teacher's weights and activations.
const std::string& teacher_dtype(const RunConfig& config);

// Whether the data is named that training needs. Told after what the model's folder says: a damaged model comes first.
void check_data_paths(base::ConfigProblems& problems, const RunConfig& config);

// Whether adapter.estimator can serve every step: the schedule of alpha and the lengths of the sequences.
void check_estimator(base::ConfigProblems& problems, const RunConfig& config);

// Only what adapters, and the operator in them, need beside each other: for runs that are trained no more.
void check_trained(base::ConfigProblems& problems, const RunConfig& config);

inline constexpr const char* kRecipes[] = {"default", "rosa_soft", "rosa_soft_20251121"};
// The defaults of a recipe: "default" (the best by evidence), "rosa_soft" (the command line's defaults of rosa_soft's
// trainer, which uses its minirosa) or "rosa_soft_20251121" (the same trainer's schedules with the operator of that
// version). Throws ConfigError for another name.
RunConfig recipe_defaults(const std::string& recipe);

// What `defaults` were before the program could do more: a configuration that a run has kept, written before a key
// existed, means this.
RunConfig earlier_defaults(RunConfig defaults);

}  // namespace rosa::training
