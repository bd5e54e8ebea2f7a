// What the folder of a training run holds, as `rosa report` reads it: the figures of its steps and evaluations, what
// happened to it, and its configuration. The files are described in docs/running.md; whatever isn't there yet is empty
// here. Computes nothing.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/run_figures.h"
#include "report/run/suite_result.h"
#include "report/statistics.h"

namespace rosa::report {

// The figures of a step by their names in metrics.jsonl. A figure that is not finite (null in the file) is NaN.
using FigureSamples = std::map<std::string, Samples>;

// The figures of a layer that heat maps show.
inline constexpr std::array<base::RunFigure, 11> kLayerFigures = {
    base::layer_figure::kMatchedShare,      base::layer_figure::kMeanMatchLength, base::layer_figure::kQueryEntropy,
    base::layer_figure::kKeyEntropy,        base::layer_figure::kAgreement,       base::layer_figure::kDeadQueryBits,
    base::layer_figure::kConstantQueryBits, base::layer_figure::kDeadKeyBits,     base::layer_figure::kConstantKeyBits,
    base::layer_figure::kGateMean,          base::layer_figure::kClosedGates};

struct LayerSteps {
  int64_t layer = 0;
  std::vector<double> steps;
  std::array<std::vector<float>, kLayerFigures.size()> figures;  // one value a step; NaN: there is none
  std::vector<bool> has_collapsed;                               // one a step
};

// One source of a mixture: its figures over the steps that had sequences of it.
struct SourceSteps {
  std::string name;
  FigureSamples figures;
};

// A held-out text whose beginning the student continued; `reference`: what follows in the text.
struct TextSample {
  std::string prompt, continuation, reference;
};
// Those of one evaluation, in their order.
struct TextSamples {
  double step = 0;
  std::vector<TextSample> texts;
};

enum class EventKind { stage, early_stop, resume, roll_back, skipped, spike, warning, failure };

struct Event {
  EventKind kind = EventKind::warning;
  std::optional<double> step;  // nothing: not known
  std::string text;
  int64_t count = 1;
};

struct ConfigEntry {
  std::string key, value, source;  // source: "default", "--set", "FILE:LINE"; may be empty
};

struct TrainingRun {
  std::string name;  // unique on a page
  std::filesystem::path folder;
  std::string run_id;
  std::optional<int64_t> last_saved_step;
  int64_t num_checkpoints = 0;
  std::vector<std::string> set_aside;  // names of the folders with what an earlier line of the run's history had saved
  std::vector<ConfigEntry> configuration;

  FigureSamples steps, evaluations;  // evaluations: those of a suite too, by names like "needle/exact"
  int64_t num_step_lines = 0;
  std::vector<LayerSteps> layers;  // by number
  std::vector<SourceSteps> sources;
  std::optional<SuiteResult> suite;  // of the last evaluation that ran one
  std::vector<TextSamples> samples;  // by step; all of the last, of the others the first
  std::vector<Event> events;         // in order of their steps, those without one last

  // A value of the configuration; empty where it has none of this key.
  std::string setting(const std::string& key) const;
  // The figures under a name; empty where there are none.
  const Samples& step_figure(const std::string& key) const;
  const Samples& evaluation_figure(const std::string& key) const;
  // Steps done, as far as the files tell.
  double num_steps_done() const;
};

// Whether a folder is one of a training run.
bool is_run_folder(const std::filesystem::path& folder);

// A line of a step that stood before says that the run went back: it takes the place of that line and of all behind
// it. Throws DataError, naming file and line, where something in it is damaged, and FileError. Leaves the
// configuration empty.
TrainingRun read_training_run(const std::filesystem::path& folder);

// Gives each run the shortest name that tells it from the others: the last part of its folder, or all of it. Throws
// ConfigError where a folder is given twice.
void name_runs(std::vector<TrainingRun>& runs);

}  // namespace rosa::report
