#include "report/experiment/tables.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "report/experiment/comparison.h"
#include "report/numbers.h"
#include "report/scale.h"

namespace rosa::report {
namespace {

using base::concat;
using Values = std::vector<std::optional<double>>;

// A bias up to this counts as none when the lowest variance is marked: the reference has an error too.
constexpr double kSmallBias = 0.2;

// Where `name` stands among `names`, at whose end it is put unless it is there.
std::size_t place_of(std::vector<std::string>& names, const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  names.push_back(name);
  return names.size() - 1;
}

Cell number_cell(const std::optional<double>& value, int digits = 3) {
  return {value ? significant(*value, digits) : "", "", false};
}

Cell count_cell(const std::optional<double>& value) { return {value ? tick_label(*value) : "", "", false}; }

Cell summary_cell(const std::optional<Summary>& summary, int decimals) {
  if (!summary) return {};
  return {fixed(summary->mean, decimals), summary->count > 1 ? fixed(summary->deviation, decimals) : "", false};
}

Cell percent_cell(const std::optional<Summary>& summary) { return {summary ? percent(summary->mean) : "", "", false}; }

// Adds columns whose cells are means over seeds, one call a column, row by row in arm_order.
class ArmTable {
 public:
  explicit ArmTable(const Experiment& experiment) : experiment_(experiment), order_(arm_order(experiment)) {
    for (const std::size_t arm : order_) {
      rows_.push_back(
          {experiment.arms[arm].label, experiment.arms[arm].estimator, experiment.arms[arm].is_control(), {}});
    }
  }

  template <class MakeCell>
  void column(const std::string& group, const std::string& title, MakeCell make_cell) {
    columns_.push_back({group, title});
    for (std::size_t i = 0; i < order_.size(); ++i) rows_[i].cells.push_back(make_cell(order_[i]));
  }

  void mean(const std::string& group, const std::string& title, const ResultValue& value, int decimals) {
    column(group, title, [&](std::size_t arm) { return summary_cell(over_seeds(experiment_, arm, value), decimals); });
  }
  void share(const std::string& group, const std::string& title, const ResultValue& value) {
    column(group, title, [&](std::size_t arm) { return percent_cell(over_seeds(experiment_, arm, value)); });
  }

  // Marks the best of the last column among the arms besides the control.
  template <class Value>
  void mark(Best best, Value value) {
    Values values;
    for (const std::size_t arm : order_) {
      values.push_back(experiment_.arms[arm].is_control() ? std::nullopt : value(arm));
    }
    marks_.emplace_back(columns_.size() - 1, std::move(values), best);
  }
  void mark_mean(Best best, const ResultValue& value) {
    mark(best, [&](std::size_t arm) { return mean_over_seeds(experiment_, arm, value); });
  }

  Table finish(const std::string& caption) {
    Table table(caption, "estimator", columns_);
    for (Row& row : rows_) table.add(std::move(row));
    for (const auto& [column, values, best] : marks_) table.mark_best(column, values, best);
    table.drop_empty_columns();
    return table;
  }

 private:
  const Experiment& experiment_;
  std::vector<std::size_t> order_;
  std::vector<Column> columns_;
  std::vector<Row> rows_;
  std::vector<std::tuple<std::size_t, Values, Best>> marks_;
};

// The loss and how far it lies from the control's.
void add_loss_columns(ArmTable& table, const Experiment& experiment, const std::string& group,
                      const ResultValue& loss) {
  table.mean(group, "loss", loss, 3);
  table.mark_mean(Best::lowest, loss);
  const auto control = control_index(experiment);
  const auto bar = control ? mean_over_seeds(experiment, *control, loss) : std::nullopt;
  table.column(group, "\u2212 none", [&](std::size_t arm) -> Cell {
    const auto mean = mean_over_seeds(experiment, arm, loss);
    if (!bar || !mean || arm == *control) return {};
    return {signed_fixed(*mean - *bar, 3), "", false};
  });
}

std::string seeds_text(const Experiment& experiment, std::size_t arm) {
  const int finished = num_finished(experiment, arm);
  const auto all = static_cast<int>(experiment.runs_of(arm).size());
  return finished == all ? std::to_string(all) : concat(finished, " of ", all);
}

std::optional<double> microseconds_of(const Experiment& experiment, std::size_t arm) {
  const VarianceStudy* study = study_of(experiment, experiment.arms[arm]);
  return study == nullptr ? std::nullopt : study->microseconds;
}

std::string with_budget(const std::string& title, const std::string& budget, const std::string& unit) {
  return budget.empty() ? title : title + " (" + budget + unit + ")";
}

}  // namespace

Table training_table(const Experiment& experiment) {
  const bool has_result = std::any_of(experiment.runs.begin(), experiment.runs.end(),
                                      [](const Run& run) { return run.result.has_value(); });
  if (!has_result) return Table("", "", {});
  const std::string steps = with_budget("equal steps", experiment.setting("num_steps"), "");
  const std::string time = with_budget("equal time", experiment.setting("seconds"), " s");
  const auto at_steps = [](auto value) { return score_value(&Result::equal_steps, value); };
  const auto at_time = [](auto value) { return score_value(&Result::equal_time, value); };
  ArmTable table(experiment);
  table.column("", "evaluations", [&](std::size_t arm) { return count_cell(experiment.arms[arm].evaluations); });
  table.column("", "µs a call", [&](std::size_t arm) { return number_cell(microseconds_of(experiment, arm)); });
  table.column("", "seeds", [&](std::size_t arm) { return Cell{seeds_text(experiment, arm), "", false}; });
  add_loss_columns(table, experiment, steps, at_steps(&Score::loss));
  table.share(steps, "accuracy", at_steps(&Score::accuracy));
  table.mark_mean(Best::highest, at_steps(&Score::accuracy));
  table.mean(steps, "zeroed loss", at_steps(&Score::zeroed_loss), 3);
  table.share(steps, "zeroed acc.", at_steps(&Score::zeroed_accuracy));
  add_loss_columns(table, experiment, time, at_time(&Score::loss));
  table.share(time, "accuracy", at_time(&Score::accuracy));
  table.mark_mean(Best::highest, at_time(&Score::accuracy));
  table.column(time, "steps", [&](std::size_t arm) {
    const auto mean = mean_over_seeds(experiment, arm, at_time(&Score::steps));
    return Cell{mean ? fixed(*mean, 0) : "", "", false};
  });
  const ResultValue speed = [](const Result& result) { return result.steps_per_second; };
  table.column("", "steps/s", [&](std::size_t arm) { return number_cell(mean_over_seeds(experiment, arm, speed)); });
  table.mark_mean(Best::highest, speed);
  return table.finish("What training reaches (mean ± deviation over seeds)");
}

Table scope_table(const Experiment& experiment) {
  const ResultValue loss = score_value(&Result::equal_steps, &Score::loss);
  std::vector<std::string> estimators, scopes;
  std::map<std::pair<std::string, std::string>, Summary> lowest;
  for (const std::size_t arm : arm_order(experiment)) {
    const auto summary = over_seeds(experiment, arm, loss);
    const auto& [estimator, scope] = std::tie(experiment.arms[arm].estimator, experiment.arms[arm].scope);
    if (!summary || experiment.arms[arm].is_control()) continue;
    place_of(estimators, estimator);
    place_of(scopes, scope);
    const auto [place, is_new] = lowest.emplace(std::pair(estimator, scope), *summary);
    if (!is_new && summary->mean < place->second.mean) place->second = *summary;
  }
  if (estimators.size() < 2 || scopes.size() < 2) return Table("", "", {});
  std::vector<Column> columns;
  for (const std::string& scope : scopes) columns.push_back({"reward scope", scope_title(scope)});
  Table table("Loss at equal steps, estimator by reward scope (best of each column marked)", "estimator", columns);
  std::vector<Values> values(scopes.size());
  for (const std::string& estimator : estimators) {
    Row row = {estimator, estimator, false, {}};
    for (std::size_t i = 0; i < scopes.size(); ++i) {
      const auto found = lowest.find({estimator, scopes[i]});
      row.cells.push_back(found == lowest.end() ? Cell{} : summary_cell(found->second, 3));
      values[i].push_back(found == lowest.end() ? std::nullopt : std::optional(found->second.mean));
    }
    table.add(std::move(row));
  }
  for (std::size_t i = 0; i < scopes.size(); ++i) table.mark_best(i, values[i], Best::lowest);
  return table;
}

Table gradient_table(const Experiment& experiment) {
  std::vector<const VarianceStudy*> studies;
  for (const Arm& arm : experiment.arms) studies.push_back(study_of(experiment, arm));
  if (std::all_of(studies.begin(), studies.end(), [](const auto* study) { return study == nullptr; })) {
    return Table("", "", {});
  }
  const auto value_of = [&](std::optional<double> VarianceStudy::*value) {
    return [&studies, value](std::size_t arm) { return studies[arm] ? studies[arm]->*value : std::nullopt; };
  };
  const auto unbiased = [&](std::size_t arm, std::optional<double> value) {
    const auto* study = studies[arm];
    return study && study->bias && std::abs(*study->bias) <= kSmallBias ? value : std::nullopt;
  };
  const auto variance_time = [&](std::size_t arm) -> std::optional<double> {
    const auto* study = studies[arm];
    if (!study || !study->variance || !study->microseconds) return {};
    return *study->variance * *study->microseconds;
  };
  ArmTable table(experiment);
  const auto column = [&](const std::string& title, const auto& value) {
    table.column("", title, [&](std::size_t arm) { return number_cell(value(arm)); });
  };
  const auto variance = value_of(&VarianceStudy::variance);
  const auto cosine = value_of(&VarianceStudy::cosine);
  table.column("", "evaluations", [&](std::size_t arm) { return count_cell(experiment.arms[arm].evaluations); });
  column("µs a call", value_of(&VarianceStudy::microseconds));
  column("variance", variance);
  table.mark(Best::lowest, [&](std::size_t arm) { return unbiased(arm, variance(arm)); });
  table.column("", "bias", [&](std::size_t arm) { return number_cell(value_of(&VarianceStudy::bias)(arm), 2); });
  column("cosine", cosine);
  table.mark(Best::highest, cosine);
  column("variance × ms", [&](std::size_t arm) {
    const auto product = variance_time(arm);
    return product ? std::optional(*product / 1000) : std::nullopt;
  });
  table.mark(Best::lowest, [&](std::size_t arm) { return unbiased(arm, variance_time(arm)); });
  table.column("", "at step", [&](std::size_t arm) { return studies[arm] ? count_cell(studies[arm]->step) : Cell{}; });
  return table.finish("The gradient against its reference");
}

Table counting_table(const Experiment& experiment) {
  const auto is_counting = [](const Run& run) { return run.result && run.result->rosa_only_accuracy; };
  if (std::none_of(experiment.runs.begin(), experiment.runs.end(), is_counting)) return Table("", "", {});
  ArmTable table(experiment);
  const auto field = [](std::optional<double> Result::*value) -> ResultValue {
    return [value](const Result& result) { return result.*value; };
  };
  const auto milliseconds = [&](const std::string& title, const ResultValue& value) {
    table.column("step time, ms", title,
                 [&](std::size_t arm) { return number_cell(mean_over_seeds(experiment, arm, value)); });
  };
  milliseconds("mean", field(&Result::step_ms_mean));
  milliseconds("p50", field(&Result::step_ms_p50));
  milliseconds("p90", field(&Result::step_ms_p90));
  for (const auto& [title, value] : {std::pair("best", &Result::best_loss), {"final", &Result::final_loss}}) {
    table.mean("loss", title, field(value), 3);
    table.mark_mean(Best::lowest, field(value));
  }
  const ResultValue accuracy = score_value(&Result::equal_steps, &Score::accuracy);
  table.share("accuracy", "next token", accuracy);
  table.mark_mean(Best::highest, accuracy);
  table.share("accuracy", "ROSA zeroed", score_value(&Result::equal_steps, &Score::zeroed_accuracy));
  table.share("accuracy", "ROSA alone", field(&Result::rosa_only_accuracy));
  table.mark_mean(Best::highest, field(&Result::rosa_only_accuracy));
  return table.finish("Counting: time, loss and accuracy");
}

Table distance_table(const Experiment& experiment) {
  std::set<double> distances;
  for (const Run& run : experiment.runs) {
    if (!run.result) continue;
    for (const DistanceAccuracy& point : run.result->by_distance) distances.insert(point.distance);
  }
  if (distances.empty()) return Table("", "", {});
  ArmTable table(experiment);
  for (const double distance : distances) {
    const ResultValue accuracy = [distance](const Result& result) -> std::optional<double> {
      for (const DistanceAccuracy& point : result.by_distance) {
        if (point.distance == distance) return point.accuracy;
      }
      return {};
    };
    table.share("accuracy at distance", fixed(distance, 0), accuracy);
    table.mark_mean(Best::highest, accuracy);
  }
  return table.finish("Recall: accuracy by distance");
}

Table timing_table(const Experiment& experiment) {
  std::vector<std::string> kernels;
  std::vector<std::string> families;
  std::map<std::tuple<double, std::size_t, double>, std::map<std::string, double>> by_input;
  for (const TimingStudy& study : experiment.timing) {
    place_of(kernels, study.kernel);
    by_input[{study.bits, place_of(families, study.family), study.length}][study.kernel] = study.microseconds;
  }
  if (kernels.empty()) return Table("", "", {});
  // What a kernel costs in others: how many forwards, and how much of brute force it saves.
  std::vector<std::tuple<std::string, std::string, std::string>> ratios = {
      {"brute force", "all flips", "brute force / all flips"}, {"all flips", "forward", "all flips / forward"}};
  const auto has = [&](const std::string& kernel) {
    return std::find(kernels.begin(), kernels.end(), kernel) != kernels.end();
  };
  std::erase_if(ratios, [&](const auto& ratio) { return !has(std::get<0>(ratio)) || !has(std::get<1>(ratio)); });
  std::vector<Column> columns;
  for (const std::string& kernel : kernels) columns.push_back({"µs", kernel});
  for (const auto& ratio : ratios) columns.push_back({"ratio", std::get<2>(ratio)});
  Table table("Time by input and length", "input", columns);
  for (const auto& [input, times] : by_input) {
    const auto& [bits, family, length] = input;
    const auto time = [&times = times](const std::string& kernel) -> std::optional<double> {
      const auto found = times.find(kernel);
      return found == times.end() ? std::nullopt : std::optional(found->second);
    };
    Row row = {concat(families[family], ", T\u00a0", tick_label(length),
                      bits > 1 ? concat(", ", fixed(bits, 0), "\u00a0bits") : ""),
               "",
               false,
               {}};
    for (const std::string& kernel : kernels) row.cells.push_back(number_cell(time(kernel)));
    for (const auto& [numerator, denominator, title] : ratios) {
      const auto above = time(numerator), below = time(denominator);
      row.cells.push_back(number_cell(above && below && *below > 0 ? std::optional(*above / *below) : std::nullopt));
    }
    table.add(std::move(row));
  }
  table.drop_empty_columns();
  return table;
}

}  // namespace rosa::report
