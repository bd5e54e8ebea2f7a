// An evaluation suite: its tasks scored by every variant, on any number of ranks with the same figures, and what came
// out as rows for tables and files.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "training/evaluation.h"
#include "training/metrics.h"
#include "training/suite/bootstrap.h"
#include "training/suite/suite_config.h"

namespace rosa::training {

struct SuiteFigure {
  std::string name;  // ce, perplexity, exact ...: docs/evaluation.md
  double value = 0.0;
  std::optional<Interval> interval = {};  // 95 %, over documents
};

// What one variant reached in one group of tokens of one task, length and depth.
struct SuiteRow {
  std::string task, group, variant;
  int64_t length = 0;
  std::optional<int64_t> depth = {};  // percent
  // What the figures stand on. A sequence without documents counts as one.
  int64_t num_tokens = 0, num_sequences = 0, num_documents = 0, num_answers = 0;
  std::vector<SuiteFigure> figures = {};

  // Null where the row does not have it.
  const SuiteFigure* figure(const std::string& name) const;
};

struct SuiteResult {
  std::vector<std::string> variants;
  std::vector<SuiteRow> rows;
  bool is_complete = true;  // false: a stop was requested before the end
};

// How far rank 0 is.
struct SuitePlace {
  std::string task;             // the one under way
  int64_t done = 0, total = 0;  // sequences
  // Inside a long text that is streamed: the variant that reads it, and how much of it. Empty and 0 else.
  std::string variant = {};
  int64_t num_tokens_done = 0, num_tokens = 0;
};
using SuiteProgress = std::function<void(const SuitePlace& place)>;

// Runs every task. Rows without tokens are left out. `stop_requested` is asked on every rank between sequences; one yes
// ends it on all, and the result is not complete. The figures, without times, are equal for any number of ranks.
// Collective: every rank calls it. Throws ConfigError, DataError where the held-out text is too short for a task,
// NumericError for a score that is not finite.
SuiteResult run_suite(const SuiteConfig& suite, const RunConfig& config, const RunParts& parts,
                      const std::vector<std::string>& variants, const SuiteProgress& progress = {},
                      const std::function<bool()>& stop_requested = {});

// What run_suite would find wrong with the held-out data, at the start of a run: throws DataError where it is too short
// for a length.
void check_suite_texts(const SuiteConfig& suite, const RunConfig& config);

// The names that a figure of the suite has during training, "TASK/FIGURE": what checkpoint.best_by may be.
std::vector<std::string> suite_figure_names(const SuiteConfig& suite);

// Adds the figures of one variant to an evaluation: the mean of each over lengths and depths, and all rows.
void add_to(EvaluationMetrics& evaluation, const SuiteResult& result, const std::string& variant);

// {"rows": [{"task", "length", "depth", "group", "variant", "num_tokens", "num_sequences", "num_documents",
// "num_answers", "figures": {name: {"value", "low", "high"}}}]}; null where there is no depth or no interval.
nlohmann::ordered_json suite_json(const SuiteResult& result);

// A table for each task: a line for each length, depth and group, a column for each variant. Where a line would be
// longer than `num_columns`, the intervals are left out; 0: they never are.
std::string suite_tables(const SuiteResult& result, int num_columns = 0);

}  // namespace rosa::training
