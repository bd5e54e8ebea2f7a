// The numbers in a run's metrics.jsonl, read back as a table: a row for each step, evaluation, layer of a step or
// source of a step, or a figure of an evaluation's suite. Its columns are the fields of training/metric_fields.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace rosa::training {

enum class MetricKind { step, evaluation, layer, source, suite };

struct MetricColumn {
  std::string_view name;
  std::string_view unit;  // empty: a plain number
  bool is_whole = false;  // whole numbers
};

// Nothing where the line has no such number, or it was not finite.
using MetricCell = std::variant<std::monostate, int64_t, double, std::string>;

struct MetricTable {
  // "step"; then "layer" or "name", of tables of layers, sources and suites; then the fields.
  std::vector<MetricColumn> columns;
  size_t num_keys = 1;  // columns before the fields
  std::vector<std::vector<MetricCell>> rows;
};

// Reads the file of a run that is finished or under way: a last line that is cut off is left out. Where a step is there
// again, the earlier rows from it on are dropped: each step stands there once. Lines of other kinds and numbers that no
// field describes are left out. Throws DataError, naming file and line, where the file is damaged, and FileError.
MetricTable read_metric_table(const std::filesystem::path& metrics_file, MetricKind kind);

// A header and a line for each row, as RFC 4180 has it, but with plain line ends. A cell without a number is empty. All
// digits are there.
std::string to_csv(const MetricTable& table);

}  // namespace rosa::training
