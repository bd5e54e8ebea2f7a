// What is compared between the arms of an experiment: means over the seeds that are finished, the studies that belong
// to an arm, and in which order and groups arms are shown. Tables and figures take their numbers from here.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "report/experiment/experiment.h"
#include "report/statistics.h"

namespace rosa::report {

using ResultValue = std::function<std::optional<double>(const Result&)>;

// One value of a score that may be missing: score_value(&Result::equal_steps, &Score::loss).
ResultValue score_value(std::optional<Score> Result::*score, std::optional<double> Score::*value);

// A value of the runs of an arm that are finished and have it.
std::vector<double> values_of(const Experiment& experiment, std::size_t arm, const ResultValue& value);
std::optional<Summary> over_seeds(const Experiment& experiment, std::size_t arm, const ResultValue& value);
std::optional<double> mean_over_seeds(const Experiment& experiment, std::size_t arm, const ResultValue& value);
int num_finished(const Experiment& experiment, std::size_t arm);

// The arms' indices: the control first, the others as the experiment names them.
std::vector<std::size_t> arm_order(const Experiment& experiment);
// The index of the control; nothing: none was compared.
std::optional<std::size_t> control_index(const Experiment& experiment);

// The newest study of an arm at its own number of samples; null: there is none.
const VarianceStudy* study_of(const Experiment& experiment, const Arm& arm);

// Arms that share a chart. Few arms: one group of all. Many: one for each reward scope, the control in each.
struct ArmGroup {
  std::string title;  // empty: all arms
  std::vector<std::size_t> arms;
  std::vector<std::string> names;  // of the arms, as short as the group allows
};
std::vector<ArmGroup> arm_groups(const Experiment& experiment);

// How a scope is called, "no scope" where it is empty.
std::string scope_title(const std::string& scope);

// The findings that the numbers allow, in sentences; empty before any run is finished, and where nothing is compared.
std::vector<std::string> findings(const Experiment& experiment);

}  // namespace rosa::report
