#include "training/metric_table.h"

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "base/json.h"
#include "training/metric_fields.h"

namespace rosa::training {
namespace {

using Row = std::vector<MetricCell>;

template <class Metrics>
void add_columns(std::vector<MetricColumn>& columns, std::span<const MetricField<Metrics>> fields) {
  for (const auto& field : fields) {
    columns.push_back({field.name, field.unit, field.is_whole()});
  }
}

MetricTable empty_table(MetricKind kind) {
  MetricTable table;
  table.columns = {{"step", "", true}};
  switch (kind) {
    case MetricKind::step:
      add_columns(table.columns, step_fields());
      break;
    case MetricKind::evaluation:
      add_columns(table.columns, evaluation_fields());
      break;
    case MetricKind::layer:
      table.columns.push_back({"layer", "", true});
      add_columns(table.columns, layer_fields());
      break;
    case MetricKind::source:
      table.columns.push_back({"name", "", false});
      add_columns(table.columns, source_fields());
      break;
    case MetricKind::suite:
      table.columns.insert(table.columns.end(), {{"name", "", false}, {"value", "", false}});
      break;
  }
  table.num_keys = kind == MetricKind::step || kind == MetricKind::evaluation ? 1 : 2;
  return table;
}

MetricCell number_of(const base::JsonFields& fields, const MetricColumn& column) {
  const std::string name(column.name);
  if (column.is_whole) {
    const auto whole = fields.integer(name.c_str());
    return whole ? MetricCell(*whole) : MetricCell();
  }
  const auto number = fields.number(name.c_str());
  return number ? MetricCell(*number) : MetricCell();
}

// The row of a line, or of an entry of one.
Row row_of(const base::JsonFields& fields, const MetricTable& table, MetricKind kind, int64_t step) {
  Row row = {step};
  if (kind == MetricKind::layer) row.emplace_back(fields.required_integer("layer"));
  if (kind == MetricKind::source) row.emplace_back(fields.required_text("name"));
  for (size_t i = table.num_keys; i < table.columns.size(); ++i) row.push_back(number_of(fields, table.columns[i]));
  return row;
}

// A row for each figure of an evaluation's suite; none where it did not run.
void add_suite(MetricTable& table, const base::JsonFields& line, int64_t step) {
  const auto suite = line.object("suite");
  if (!suite) return;
  for (const auto& [name, value] : suite->value().items()) {
    const std::optional<double> number = suite->number(name.c_str());
    table.rows.push_back({step, name, number ? MetricCell(*number) : MetricCell()});
  }
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char symbol : text) result += symbol == '"' ? std::string("\"\"") : std::string(1, symbol);
  return result + '"';
}

template <class Number>
std::string all_digits(Number number) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  return {digits.data(), end};
}

std::string csv_cell(const MetricCell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return quoted(*text);
  if (const auto* whole = std::get_if<int64_t>(&cell)) return all_digits(*whole);
  if (const auto* number = std::get_if<double>(&cell)) return all_digits(*number);
  return "";
}

}  // namespace

MetricTable read_metric_table(const std::filesystem::path& metrics_file, MetricKind kind) {
  MetricTable table = empty_table(kind);
  const bool of_evaluations = kind == MetricKind::evaluation || kind == MetricKind::suite;
  const std::string wanted = of_evaluations ? "evaluation" : "step";
  base::read_json_lines(metrics_file, [&](const base::JsonFields& line, std::string_view) {
    if (line.required_text("kind") != wanted) return;
    const int64_t step = line.required_integer("step", 0);
    while (!table.rows.empty() && std::get<int64_t>(table.rows.back().front()) >= step) table.rows.pop_back();
    const auto add = [&](const base::JsonFields& fields) { table.rows.push_back(row_of(fields, table, kind, step)); };
    if (table.num_keys == 1) return add(line);
    if (kind == MetricKind::suite) return add_suite(table, line, step);
    for (const base::JsonFields& entry : line.objects(kind == MetricKind::layer ? "layers" : "sources")) add(entry);
  });
  return table;
}

std::string to_csv(const MetricTable& table) {
  std::string text;
  for (const MetricColumn& column : table.columns) {
    if (!text.empty()) text += ",";
    text += column.name;
  }
  text += "\n";
  for (const Row& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) text += ",";
      text += csv_cell(row[i]);
    }
    text += "\n";
  }
  return text;
}

}  // namespace rosa::training
