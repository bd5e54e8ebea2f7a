// `rosa report` of training runs: one self-contained page, or Markdown tables, of one run or of several compared.
#pragma once

#include <string>
#include <vector>

#include "report/run/training_run.h"

namespace rosa::report {

// A whole HTML page in English, well-formed also as XML: inline SVG and CSS, no script, nothing from outside. There is
// at least one run, and their names differ (name_runs). `refresh_s`: a browser loads it anew after so many seconds; 0:
// never.
std::string run_page(const std::vector<TrainingRun>& runs, int refresh_s = 0);

// The tables of the page, as Markdown.
std::string run_markdown(const std::vector<TrainingRun>& runs);

}  // namespace rosa::report
