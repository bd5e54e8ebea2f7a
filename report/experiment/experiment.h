// What a folder of `rosa experiment` holds, as `rosa report` reads it. The files are described in docs/experiments.md;
// whatever isn't there yet is empty here. Computes nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rosa::report {

// One estimator with its settings, as the experiment compares them.
struct Arm {
  std::string label, estimator, scope, note;  // scope: empty where the estimator has none
  int64_t num_samples = 1;
  std::optional<double> evaluations;  // of the operator, a gradient

  bool is_control() const { return estimator == "none"; }
};

struct LossPoint {
  double step = 0, seconds = 0;
  std::optional<double> loss;  // nothing: not finite
};

// The model as evaluated at one moment. zeroed: with ROSA's output forced to zero.
struct Score {
  std::optional<double> steps, seconds, loss, accuracy, zeroed_loss, zeroed_accuracy;
};

struct Correlation {
  double step = 0;
  double value = 0;
};

struct DistanceAccuracy {
  double distance = 0;
  double accuracy = 0;
};

// What the model and ROSA alone make of one text.
struct SampleLine {
  std::string gold, rosa, model;
};

struct Result {
  std::optional<double> steps_per_second, step_ms_mean, step_ms_p50, step_ms_p90;
  std::optional<Score> equal_steps, equal_time;
  std::optional<double> best_loss, final_loss, rosa_only_accuracy;
  std::vector<DistanceAccuracy> by_distance;
  std::vector<SampleLine> lines;
};

// One arm with one seed.
struct Run {
  std::size_t arm = 0;  // index
  int64_t seed = 0;
  std::vector<LossPoint> losses;
  std::vector<Score> evaluations;
  std::vector<Correlation> linearisation;
  std::optional<Result> result;  // nothing: not finished

  // The last step that left a line; 0: it hasn't begun.
  double last_step() const;
};

// The gradient that an estimator gives, against a reference. variance and bias: relative to the reference's norm.
struct VarianceStudy {
  std::string label, estimator, scope;
  double step = 0, num_samples = 1;
  std::optional<double> evaluations, microseconds, variance, bias, cosine;
};

struct TimingStudy {
  std::string kernel, family;
  double length = 0, bits = 1, microseconds = 0;
};

struct Experiment {
  std::string task, title, description, command, machine, commit, date;
  std::optional<double> world_size;
  std::vector<std::pair<std::string, std::string>> settings;
  std::vector<Arm> arms;
  std::vector<int64_t> seeds;
  std::vector<Run> runs;                // of each arm, of each seed
  std::vector<VarianceStudy> variance;  // as the file names them first
  std::vector<TimingStudy> timing;

  // A setting's text, empty where it isn't there.
  std::string setting(const std::string& name) const;
  std::vector<const Run*> runs_of(std::size_t arm) const;
  const Arm* control() const;  // null: none was compared
};

// Lines that are repeated (a run that was resumed) count as they stand last. Throws DataError, naming file and line,
// where the folder is none of `rosa experiment` or something in it is damaged, and FileError.
Experiment read_experiment(const std::filesystem::path& folder);

}  // namespace rosa::report
