// The numbers beside the pictures of a page of runs. Each table is empty where the runs hold nothing for it.
#pragma once

#include <vector>

#include "report/run/figure_info.h"
#include "report/run/training_run.h"
#include "report/table.h"

namespace rosa::report {

// One row a run: how far it is, where its losses are, how fast it goes, what happened to it.
Table overview_table(const std::vector<TrainingRun>& runs, double half_life);
// Last, best, mean, lowest and highest value of figures of the steps (of the evaluations): one row a figure and run.
Table step_table(const std::vector<TrainingRun>& runs, const std::vector<FigureInfo>& figures);
Table evaluation_table(const std::vector<TrainingRun>& runs, const std::vector<FigureInfo>& figures);
// Where the time of a step went: the mean share of each part.
Table time_table(const std::vector<TrainingRun>& runs);
// The layers as they were last.
Table layer_table(const TrainingRun& run);
Table source_table(const TrainingRun& run);
// The samples of the last evaluation that made some; how the first of them went on over the run.
Table sample_table(const TrainingRun& run);
Table sample_history_table(const TrainingRun& run);
// What happened, the newest of it where there is much.
Table event_table(const std::vector<TrainingRun>& runs);
// One run: its settings that are not the default; `all`: every one. Several: those in which they differ.
Table configuration_table(const std::vector<TrainingRun>& runs, bool all);

// The figures of the steps (of the evaluations) that no section names.
std::vector<FigureInfo> other_step_figures(const std::vector<TrainingRun>& runs);
std::vector<FigureInfo> other_evaluation_figures(const std::vector<TrainingRun>& runs);

// The layers that had collapsed at the last step that shows them.
std::vector<int64_t> collapsed_layers(const TrainingRun& run);

}  // namespace rosa::report
