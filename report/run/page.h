// `rosa report` of training runs and of what their long-context suites found: one self-contained page, or Markdown
// tables, of one run or of several compared.
#pragma once

#include <string>
#include <vector>

#include "report/run/training_run.h"

namespace rosa::report {

// A whole HTML page in English, well-formed also as XML: inline SVG and CSS, no script, nothing from outside. `suites`:
// results beside those of the runs' own evaluations. There is at least one run or one of these, and the names of each
// differ (name_runs, name_suites). `refresh_s`: a browser loads it anew after so many seconds; 0: never.
std::string run_page(const std::vector<TrainingRun>& runs, const std::vector<SuiteResult>& suites = {},
                     int refresh_s = 0);

// The tables of the page, as Markdown.
std::string run_markdown(const std::vector<TrainingRun>& runs, const std::vector<SuiteResult>& suites = {});

}  // namespace rosa::report
