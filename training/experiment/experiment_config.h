// ExperimentConfig: what `rosa experiment` compares: a task, estimators (arms) and seeds, and how each run of them is
// trained. Files are read by launch/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config_problems.h"
#include "base/fields.h"
#include "models/adapter.h"
#include "parallel/reduction_config.h"
#include "parallel/watchdog.h"
#include "rosa/estimators/gate_estimator.h"
#include "training/config.h"
#include "training/optimizer.h"
#include "training/schedules.h"

namespace rosa::training {

// counting: FastRosa's model of counting numbers. gate_only: the same data, nothing but the gate. recall: values by
// keys, for the operator with queries, keys and values. timing: no training, the time of the kernels.
enum class ExperimentTaskKind { counting, gate_only, recall, timing };

struct ExperimentSection {
  std::string folder;  // of results; docs/experiments.md lists its files
  ExperimentTaskKind task = ExperimentTaskKind::gate_only;
  std::string title, description;
  std::vector<std::string> estimators;  // "disarm scope=joint": a name, and fields of `gate` (recall: of `adapter`)
  std::vector<int64_t> seeds = {0};
  int64_t num_steps = 500;
  double seconds = 0;  // the second budget: training time that is equal for all; 0: none
  int64_t evaluate_every = 100;
  int64_t num_evaluation_samples = 128;
  int64_t log_every = 10;
  double save_seconds = 60;  // between checkpoints of a run
};
void describe(base::FieldVisitor& visitor, ExperimentSection& config);

struct ExperimentDataSection {
  int64_t num_samples = 32;   // sequences of a global batch
  int64_t micro_batches = 2;  // of one global batch, over all ranks
  int64_t length = 128;
  int64_t channels = 8;  // width of the model
  // Gate tasks.
  double embedding_scale = 1e-5;  // emb0 = -scale, emb1 = +scale at the start
  // Recall.
  int64_t num_keys = 16;
  int64_t num_values = 8;
  int64_t num_pairs = 8;     // written at the beginning of a sequence
  int64_t num_queries = 16;  // asked for behind them
};
void describe(base::FieldVisitor& visitor, ExperimentDataSection& config);

// What is measured of the gradient itself, in the first run of one arm.
struct StudySection {
  std::string arm;             // one of experiment.estimators; empty: no study
  std::vector<int64_t> steps;  // before which steps
  int64_t num_draws = 64;      // gradients of each arm
  int64_t num_rows = 4;        // sequences of the batch that they are taken at
  int64_t reference_draws = 512;
  std::vector<int64_t> num_samples = {2, 4, 8, 16};  // of the sampled arms: variance against K
  int64_t num_flips = 64;                            // tried for the correlation of the linearised with the true loss
};
void describe(base::FieldVisitor& visitor, StudySection& config);

struct TimingSection {
  std::vector<int64_t> lengths = {64, 128, 256, 512, 1024, 2048};
  double seconds = 0.2;  // measured for each figure
};
void describe(base::FieldVisitor& visitor, TimingSection& config);

struct ExperimentConfig {
  ExperimentSection experiment;
  ExperimentDataSection data;
  GateEstimatorConfig gate;                                        // defaults of the arms of gate tasks
  models::AdapterConfig adapter = models::plain_adapter_config();  // defaults of the arms of recall
  StudySection study;
  TimingSection timing;
  OptimizerConfig optimizer{.beta1 = 0.9,
                            .beta2 = 0.999,
                            .epsilon = 1e-8,
                            .weight_decay = 0.01,
                            .weight_decay_on = WeightDecayOn::all,
                            .clip = 0.0};
  ScheduleConfig learning_rate{.shape = ScheduleShape::constant, .start = 5e-3};
  parallel::ParallelConfig parallel;
  parallel::WatchdogConfig watchdog;
  ComputeSection compute;
};
void describe(base::FieldVisitor& visitor, ExperimentConfig& config);

// One of the things that are compared.
struct ExperimentArm {
  std::string label;  // as in experiment.estimators
  std::string estimator;
  GateEstimatorConfig gate;
  models::AdapterConfig adapter;

  // The sampled estimators' scope; empty where it means nothing.
  std::string scope() const;
  // Strings drawn for a gradient; 1 where none are.
  int64_t num_samples() const;
};

// What no single key can show: the rules of the sections and those between them and the arms.
void check(base::ConfigProblems& problems, const ExperimentConfig& config, const std::vector<ExperimentArm>& arms);

const char* name_of(ExperimentTaskKind task);
bool is_gate_task(ExperimentTaskKind task);

}  // namespace rosa::training
