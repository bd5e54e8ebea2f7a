#include "report/experiment/comparison.h"

#include <algorithm>

#include "base/error.h"
#include "report/numbers.h"

namespace rosa::report {
namespace {

using base::concat;

constexpr std::size_t kMaxArmsInOneChart = 7;

struct Contest {
  std::size_t arm = 0;
  Summary summary;
};

// The arms besides the control that have the value, best (lowest or highest mean) first.
std::vector<Contest> ranking(const Experiment& experiment, const ResultValue& value, bool lowest_first) {
  std::vector<Contest> ranked;
  for (std::size_t arm = 0; arm < experiment.arms.size(); ++arm) {
    if (experiment.arms[arm].is_control()) continue;
    if (const auto summary = over_seeds(experiment, arm, value)) ranked.push_back({arm, *summary});
  }
  std::stable_sort(ranked.begin(), ranked.end(), [lowest_first](const Contest& a, const Contest& b) {
    return lowest_first ? a.summary.mean < b.summary.mean : a.summary.mean > b.summary.mean;
  });
  return ranked;
}

std::string mean_text(const Summary& summary) {
  const std::string mean = fixed(summary.mean, 3);
  return summary.count > 1 ? mean + " ± " + fixed(summary.deviation, 3) : mean;
}

// "At equal steps a ends lowest: ...", against the control where there is one.
void add_loss_finding(const Experiment& experiment, const std::string& budget, const ResultValue& loss,
                      std::vector<std::string>& found) {
  const std::vector<Contest> ranked = ranking(experiment, loss, true);
  if (experiment.arms.size() < 2 || ranked.empty()) return;
  std::string text = concat("At ", budget, ", ", experiment.arms[ranked[0].arm].label,
                            " ends with the lowest loss: ", mean_text(ranked[0].summary));
  const auto control = control_index(experiment);
  const auto bar = control ? over_seeds(experiment, *control, loss) : std::nullopt;
  if (bar) {
    const auto num_better = std::count_if(ranked.begin(), ranked.end(), [&bar](const Contest& contest) {
      return contest.summary.mean + contest.summary.deviation < bar->mean - bar->deviation;
    });
    text += concat("; “none” ends at ", mean_text(*bar), ". ", num_better, " of ", ranked.size(),
                   " arms end below “none” by more than both deviations");
  }
  found.push_back(text + ".");
}

void add_gradient_finding(const Experiment& experiment, std::vector<std::string>& found) {
  const VarianceStudy* best = nullptr;
  for (const Arm& arm : experiment.arms) {
    const VarianceStudy* study = study_of(experiment, arm);
    if (study == nullptr || arm.is_control() || !study->cosine) continue;
    if (best == nullptr || *study->cosine > *best->cosine) best = study;
  }
  if (best == nullptr) return;
  found.push_back(
      concat("The gradient of ", best->label, " lies closest to the reference: cosine ", fixed(*best->cosine, 3), "."));
}

// The names of arms in a group: the estimators, or the labels where that is not enough.
std::vector<std::string> short_names(const Experiment& experiment, const std::vector<std::size_t>& arms) {
  std::vector<std::string> names;
  for (const std::size_t arm : arms) {
    const auto shares_estimator = [&](std::size_t other) {
      return experiment.arms[other].estimator == experiment.arms[arm].estimator;
    };
    const bool is_alone = std::count_if(arms.begin(), arms.end(), shares_estimator) == 1;
    names.push_back(is_alone ? experiment.arms[arm].estimator : experiment.arms[arm].label);
  }
  return names;
}

}  // namespace

ResultValue score_value(std::optional<Score> Result::*score, std::optional<double> Score::*value) {
  return [score, value](const Result& result) { return result.*score ? (*(result.*score)).*value : std::nullopt; };
}

std::vector<double> values_of(const Experiment& experiment, std::size_t arm, const ResultValue& value) {
  std::vector<double> values;
  for (const Run* run : experiment.runs_of(arm)) {
    if (!run->result) continue;
    if (const auto one = value(*run->result)) values.push_back(*one);
  }
  return values;
}

std::optional<Summary> over_seeds(const Experiment& experiment, std::size_t arm, const ResultValue& value) {
  return summarise(values_of(experiment, arm, value));
}

std::optional<double> mean_over_seeds(const Experiment& experiment, std::size_t arm, const ResultValue& value) {
  const auto summary = over_seeds(experiment, arm, value);
  return summary ? std::optional(summary->mean) : std::nullopt;
}

int num_finished(const Experiment& experiment, std::size_t arm) {
  int count = 0;
  for (const Run* run : experiment.runs_of(arm)) count += run->result.has_value();
  return count;
}

std::vector<std::size_t> arm_order(const Experiment& experiment) {
  std::vector<std::size_t> order(experiment.arms.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_partition(order.begin(), order.end(), [&](std::size_t arm) { return experiment.arms[arm].is_control(); });
  return order;
}

std::optional<std::size_t> control_index(const Experiment& experiment) {
  for (std::size_t arm = 0; arm < experiment.arms.size(); ++arm) {
    if (experiment.arms[arm].is_control()) return arm;
  }
  return {};
}

const VarianceStudy* study_of(const Experiment& experiment, const Arm& arm) {
  const VarianceStudy* by_label = nullptr;
  const VarianceStudy* by_estimator = nullptr;
  const auto take_newer = [](const VarianceStudy*& kept, const VarianceStudy& study) {
    if (kept == nullptr || study.step >= kept->step) kept = &study;
  };
  for (const VarianceStudy& study : experiment.variance) {
    if (study.num_samples != static_cast<double>(arm.num_samples)) continue;
    if (study.label == arm.label) take_newer(by_label, study);
    if (study.estimator == arm.estimator && study.scope == arm.scope) take_newer(by_estimator, study);
  }
  return by_label != nullptr ? by_label : by_estimator;
}

std::vector<ArmGroup> arm_groups(const Experiment& experiment) {
  const std::vector<std::size_t> order = arm_order(experiment);
  if (order.empty()) return {};
  if (order.size() <= kMaxArmsInOneChart) return {{"", order, short_names(experiment, order)}};
  std::vector<ArmGroup> groups;
  for (const std::size_t arm : order) {
    if (experiment.arms[arm].is_control()) continue;
    const std::string title = scope_title(experiment.arms[arm].scope);
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const ArmGroup& g) { return g.title == title; });
    ArmGroup& group = same == groups.end() ? groups.emplace_back(ArmGroup{title, {}, {}}) : *same;
    group.arms.push_back(arm);
  }
  for (ArmGroup& group : groups) {
    if (const auto control = control_index(experiment)) group.arms.insert(group.arms.begin(), *control);
    group.names = short_names(experiment, group.arms);
  }
  return groups;
}

std::string scope_title(const std::string& scope) { return scope.empty() ? "no scope" : scope; }

std::vector<std::string> findings(const Experiment& experiment) {
  std::vector<std::string> found;
  add_loss_finding(experiment, "equal steps", score_value(&Result::equal_steps, &Score::loss), found);
  add_loss_finding(experiment, "equal time", score_value(&Result::equal_time, &Score::loss), found);
  const auto best_accuracy = ranking(experiment, score_value(&Result::equal_steps, &Score::accuracy), false);
  if (experiment.arms.size() > 1 && !best_accuracy.empty()) {
    found.push_back(concat("The highest accuracy at equal steps is ", percent(best_accuracy[0].summary.mean), ", of ",
                           experiment.arms[best_accuracy[0].arm].label, "."));
  }
  add_gradient_finding(experiment, found);
  return found;
}

}  // namespace rosa::report
