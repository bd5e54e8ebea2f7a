// The pictures of a page of runs, as panels of a figure. Each is empty where the runs hold nothing for it.
#pragma once

#include <string>
#include <vector>

#include "report/appearance.h"
#include "report/markup.h"
#include "report/run/figure_info.h"
#include "report/run/training_run.h"
#include "report/scale.h"

namespace rosa::report {

inline constexpr int kChartColumns = 200;   // a curve has at most so many points
inline constexpr int kHeatMapColumns = 64;  // and a heat map so many columns

class RunCharts {
 public:
  // Both must outlive it; `appearance` knows the names of the runs.
  RunCharts(const std::vector<TrainingRun>& runs, const Appearance& appearance);

  // After how many steps a value counts half as much in a smoothed line.
  double half_life() const { return half_life_; }

  // A figure of the steps (or of the evaluations) of all runs. Empty also where it is the same number throughout.
  Markup step_chart(const FigureInfo& info, bool shows_events) const;
  Markup evaluation_chart(const FigureInfo& info) const;
  // What the time of a run's steps goes into, stacked.
  Markup time_chart(const TrainingRun& run) const;
  // The smoothed loss of each source; `sources` knows their names.
  Markup source_chart(const TrainingRun& run, const Appearance& sources) const;
  // A figure of kLayerFigures over layers and steps.
  Markup layer_map(const TrainingRun& run, std::size_t figure) const;

 private:
  std::string next_id() const;

  const std::vector<TrainingRun>& runs_;
  const Appearance& appearance_;
  Interval steps_ = {0, 1};  // of all runs
  double half_life_ = 1;
  mutable int num_charts_ = 0;
};

// Whether all values of a figure are one number in all runs; nothing is to be seen in a picture then.
bool is_constant(const std::vector<TrainingRun>& runs, const std::string& step_figure);

}  // namespace rosa::report
