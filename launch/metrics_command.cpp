// `rosa metrics`: the numbers of a run, as a table for people or as CSV.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "training/metric_table.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using training::MetricCell;
using training::MetricKind;
using training::MetricTable;

const std::map<std::string, MetricKind> kKinds = {{"step", MetricKind::step},
                                                  {"evaluation", MetricKind::evaluation},
                                                  {"layer", MetricKind::layer},
                                                  {"source", MetricKind::source},
                                                  {"suite", MetricKind::suite}};

struct MetricsOptions {
  std::string folder, kind, output;
  int num_lines = 3;
  bool csv = false, force = false;
};

using Texts = std::vector<std::string>;

std::string short_text(double number) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.5g", number);
  return text.data();
}

std::string short_text(const MetricCell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return base::excerpt(*text, 24);
  if (const auto* whole = std::get_if<int64_t>(&cell)) return std::to_string(*whole);
  if (const auto* number = std::get_if<double>(&cell)) return short_text(*number);
  return "-";
}

std::optional<double> as_number(const MetricCell& cell) {
  if (const auto* whole = std::get_if<int64_t>(&cell)) return static_cast<double>(*whole);
  if (const auto* number = std::get_if<double>(&cell)) return *number;
  return {};
}

// The cells of the lowest and the highest number of a column, over all rows.
std::pair<MetricCell, MetricCell> range_of(const MetricTable& table, size_t column) {
  std::pair<MetricCell, MetricCell> range;
  for (const auto& row : table.rows) {
    const auto number = as_number(row[column]);
    if (!number) continue;
    const auto lowest = as_number(range.first), highest = as_number(range.second);
    if (!lowest || *number < *lowest) range.first = row[column];
    if (!highest || *number > *highest) range.second = row[column];
  }
  return range;
}

// Rows of texts, each column as wide as its widest text; the first two are aligned to the left.
std::string aligned(const std::vector<Texts>& rows) {
  std::vector<size_t> widths;
  for (const Texts& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Texts& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - row[i].size(), ' ');
      line += (i > 0 ? "  " : "") + (i < 2 ? row[i] + blanks : blanks + row[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

// A line for each field: its range over the whole run, and its last numbers.
std::string table_text(const MetricTable& table, int num_lines) {
  // Of layers and sources a line has an entry each.
  const auto step_of = [&](size_t row) { return std::get<int64_t>(table.rows[row].front()); };
  size_t first = table.rows.size();
  for (int line = 0; first > 0 && line < num_lines; ++line) {
    const int64_t step = step_of(first - 1);
    while (first > 0 && step_of(first - 1) == step) --first;
  }
  std::vector<Texts> rows;
  for (size_t column = 0; column < table.columns.size(); ++column) {
    Texts row = {std::string(table.columns[column].name), std::string(table.columns[column].unit)};
    if (column < table.num_keys) {
      const bool is_top = column == 0;
      row.insert(row.end(), {is_top ? "lowest" : "", is_top ? "highest" : ""});
    } else {
      const auto [lowest, highest] = range_of(table, column);
      row.insert(row.end(), {short_text(lowest), short_text(highest)});
    }
    for (size_t i = first; i < table.rows.size(); ++i) row.push_back(short_text(table.rows[i][column]));
    rows.push_back(std::move(row));
  }
  return aligned(rows);
}

// What the file holds of a kind, in a line.
std::string counts_text(const std::string& kind, const MetricTable& table) {
  int64_t num_steps = 0, previous = -1;
  for (const auto& row : table.rows) {
    const auto step = std::get<int64_t>(row.front());
    num_steps += step != previous ? 1 : 0;
    previous = step;
  }
  return base::concat(kind, ": ", num_steps, num_steps == 1 ? " line" : " lines", ", steps ",
                      std::get<int64_t>(table.rows.front().front()), " to ", previous, "\n");
}

std::string readable_text(const fs::path& file, const std::vector<std::string>& kinds, int num_lines) {
  std::string text = "metrics of " + base::printable(file.string()) + "\n";
  for (const std::string& kind : kinds) {
    const MetricTable table = training::read_metric_table(file, kKinds.at(kind));
    text += "\n";
    text += table.rows.empty() ? kind + ": no line yet\n" : counts_text(kind, table) + table_text(table, num_lines);
  }
  return text;
}

// The file of a run's folder.
fs::path metrics_file(const fs::path& folder) {
  std::error_code ignored;
  fs::path file = folder / "metrics.jsonl";
  base::require<base::ConfigError>(fs::is_directory(folder, ignored), "there is no folder '", folder.string(),
                                   "'; name a run folder");
  base::require<base::ConfigError>(fs::exists(file, ignored), "'", folder.string(),
                                   "' holds no metrics.jsonl: it is no run folder, or its run has not begun yet");
  return file;
}

int run_metrics(const MetricsOptions& options) {
  const fs::path file = metrics_file(options.folder);
  const fs::path output = output_path(options.output.empty() ? "-" : options.output);
  check_output({.option = "-o",
                .path = output,
                .kind = OutputKind::metrics,
                .inputs = {file},
                .folders = {options.folder},
                .force = options.force});
  std::string text;
  if (options.csv) {
    text = to_csv(training::read_metric_table(file, kKinds.at(options.kind.empty() ? "step" : options.kind)));
  } else {
    const std::vector<std::string> both = {"step", "evaluation"};
    text = readable_text(file, options.kind.empty() ? both : std::vector{options.kind}, options.num_lines);
  }
  if (options.output.empty()) {
    std::cout << text << std::flush;
  } else {
    base::write_file_atomically(output, text);
  }
  return kExitOk;
}

}  // namespace

void add_metrics_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("metrics", "Shows the numbers of a run, or writes them as CSV.");
  const auto options = std::make_shared<MetricsOptions>();
  command->add_option("RUN", options->folder, "run folder, of a run that is finished or under way")->required();
  command->add_option("--kind", options->kind, "step, evaluation, layer or source (default: the first two; CSV: step)")
      ->check(CLI::IsMember({"step", "evaluation", "layer", "source", "suite"}));
  CLI::Option* csv = command->add_flag("--csv", options->csv, "all lines as CSV, with all digits");
  command->add_option("-n,--lines", options->num_lines, "how many of the last lines the table shows (default 3)")
      ->check(CLI::Range(1, 1000))
      ->excludes(csv);
  command->add_option("-o,--output", options->output, "file to write (default: standard output)")
      ->check(refuse_empty_name);
  command->add_flag("--force", options->force, "replaces a file that this command did not write");
  command->footer(
      "What each number means: docs/metrics.md.\n"
      "  rosa metrics runs/mine\n"
      "  rosa metrics runs/mine --csv --kind evaluation -o evaluations.csv");
  command->callback([&action, options] { action = [options] { return run_metrics(*options); }; });
}

}  // namespace rosa::launch
