// `rosa report`: one self-contained page, or Markdown tables, of the folders that `rosa experiment` leaves. Needs no
// LibTorch.
#pragma once

#include <string>
#include <vector>

#include "training/report/experiment.h"

namespace rosa::training::report {

// A whole HTML page in English, well-formed also as XML: inline SVG and CSS, no script, nothing from outside.
std::string report_page(const std::vector<Experiment>& experiments);

// The tables of the page, as Markdown.
std::string report_markdown(const std::vector<Experiment>& experiments);

}  // namespace rosa::training::report
