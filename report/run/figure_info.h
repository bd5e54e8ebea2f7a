// In which section of a page each figure of metrics.jsonl stands, and how it is drawn and written. What it is called is
// in base/run_figures.h; a figure that isn't listed here is shown under its own name.
#pragma once

#include <string>
#include <vector>

namespace rosa::report {

enum class FigureFormat { number, share, mebibytes, count };
enum class BestValue { none, lowest, highest };

struct FigureInfo {
  std::string key, title;
  std::string unit;  // of an axis
  FigureFormat format = FigureFormat::number;
  BestValue best = BestValue::none;
  bool is_noisy = false;  // drawn faint, with a smoothed line
  bool is_logarithmic = false;
};

struct FigureSection {
  std::string title, explanation;
  std::vector<FigureInfo> figures;
  bool shows_events = false;
};

// The sections of the figures of steps, in the order of the page.
const std::vector<FigureSection>& step_sections();
// Those of an evaluation.
const std::vector<FigureInfo>& evaluation_figures();
// The loss of a source of a mixture.
const FigureInfo& source_loss_figure();
// Those of a layer, in the order of kLayerFigures.
const std::vector<FigureInfo>& layer_figures();

// A value with what its unit asks for, for tables: "12.3%", "1,240", "0.0312".
std::string value_text(const FigureInfo& info, double value);
// What an axis shows of a value: mebibytes of bytes, everything else as it is.
double axis_value(const FigureInfo& info, double value);

}  // namespace rosa::report
