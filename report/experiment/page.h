// `rosa report`: one self-contained page, or Markdown tables, of the folders that `rosa experiment` leaves. Needs no
// LibTorch.
#pragma once

#include <string>
#include <vector>

#include "report/experiment/experiment.h"

namespace rosa::report {

// A whole HTML page in English, well-formed also as XML: inline SVG and CSS, no script, nothing from outside.
std::string experiment_page(const std::vector<Experiment>& experiments);

// The tables of the page, as Markdown.
std::string experiment_markdown(const std::vector<Experiment>& experiments);

}  // namespace rosa::report
