#include "report/run/charts.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/error.h"
#include "report/heat_map.h"
#include "report/line_chart.h"
#include "report/numbers.h"
#include "report/run/curves.h"
#include "report/run/section.h"

namespace rosa::report {
namespace {

using base::concat;

constexpr int kNumHovers = 64;
constexpr std::size_t kFewPoints = 24;         // each of them is marked
constexpr double kSmallestExtent = 0.04;       // of a linear axis, as a share of its greatest value
constexpr double kHalfLifeOfSteps = 1.0 / 50;  // of all steps

// One curve of a chart before it is one: all its samples, in units of the axis.
struct Line {
  std::string name, marker;
  Samples samples;
};

bool holds_one_number(const std::vector<const Samples*>& all) {
  std::optional<double> first;
  for (const Samples* samples : all) {
    for (const auto& [step, value] : *samples) {
      if (!std::isfinite(value)) return false;
      if (!first) first = value;
      if (value != *first) return false;
    }
  }
  return true;
}

// All but the few values so far off that the others would lie in a heap; those are cut off at the edge.
Interval domain_of(const std::vector<Line>& lines, const FigureInfo& info) {
  std::vector<double> values;
  for (const Line& line : lines) {
    for (const auto& [step, value] : line.samples) {
      if (std::isfinite(value) && (!info.is_logarithmic || value > 0)) values.push_back(value);
    }
  }
  if (values.empty()) return {1, 10};
  const auto [lowest, highest] = std::minmax_element(values.begin(), values.end());
  Interval all = {*lowest, *highest};
  if (info.is_logarithmic) return {all.low / 1.25, all.high * 1.25};
  // Ticks that differ in their fifth digit only say nothing, and find no room.
  const double missing = kSmallestExtent * std::max(std::abs(all.low), std::abs(all.high)) - (all.high - all.low);
  if (missing > 0) all = {all.low - missing / 2, all.high + missing / 2};
  const double low = quantile(values, 0.01), high = quantile(values, 0.99);
  const double margin = 1.5 * (high - low);
  if (!info.is_noisy || margin == 0) return round_interval(all, 5);
  return round_interval({std::max(all.low, low - margin), std::min(all.high, high + margin)}, 5);
}

std::string step_text(Interval part) {
  return part.high - part.low < 1 ? "step " + fixed(part.low, 0)
                                  : concat("step ", fixed(part.low, 0), " to ", fixed(part.high, 0));
}

std::string value_and_range(const PlotPoint& point) {
  const std::string mean = significant(point.y, 4);
  if (point.low == point.high) return mean;
  return concat(mean, " (", significant(point.low, 4), " to ", significant(point.high, 4), ")");
}

// For each part of the axis the mean of each line there, with the range of its values.
std::vector<Hover> hovers_of(const std::vector<Line>& lines, Interval steps) {
  std::map<int, std::string> texts;
  const double width = (steps.high - steps.low) / kNumHovers;
  for (const Line& line : lines) {
    std::array<Samples, kNumHovers> parts;
    for (const auto& [step, value] : line.samples) {
      const int place = width > 0 ? static_cast<int>((step - steps.low) / width) : 0;
      if (place >= 0 && step <= steps.high) {
        parts[static_cast<std::size_t>(std::min(place, kNumHovers - 1))].emplace_back(step, value);
      }
    }
    for (int i = 0; i < kNumHovers; ++i) {
      const Samples& part = parts[static_cast<std::size_t>(i)];
      if (part.empty()) continue;
      const Interval seen = {part.front().first, part.back().first};
      const auto summary = summary_of(part);
      const std::string value =
          summary ? value_and_range({0, summary->mean, summary->lowest, summary->highest}) : std::string("not finite");
      texts[i] +=
          concat(texts[i].empty() ? "" : "\n", line.name, line.name.empty() ? "" : ", ", step_text(seen), ": ", value);
    }
  }
  std::vector<Hover> hovers;
  for (auto& [i, text] : texts) {
    hovers.push_back({{steps.low + i * width, steps.low + (i + 1) * width}, std::move(text)});
  }
  return hovers;
}

const char* class_of(EventKind kind) {
  switch (kind) {
    case EventKind::stage:
    case EventKind::early_stop:
      return "stage";
    case EventKind::resume:
      return "resume";
    case EventKind::roll_back:
      return "back";
    case EventKind::skipped:
    case EventKind::spike:
      return "skip";
    case EventKind::failure:
      return "failure";
    case EventKind::warning:
      break;
  }
  return "";
}

// Events that fall together are one mark.
std::vector<EventMark> marks_of(const std::vector<TrainingRun>& runs, Interval steps) {
  struct Group {
    double step = 0;
    std::string text;
    int64_t count = 0;
  };
  std::map<std::pair<int, std::string>, Group> groups;
  const double width = std::max((steps.high - steps.low) / kNumHovers, 1e-9);
  for (const TrainingRun& run : runs) {
    for (const Event& event : run.events) {
      if (!event.step || event.kind == EventKind::warning) continue;
      const double step = std::clamp(*event.step, steps.low, steps.high);
      Group& group = groups[{static_cast<int>((step - steps.low) / width), class_of(event.kind)}];
      if (group.count++ > 0) continue;
      group.step = step;
      group.text =
          concat(runs.size() > 1 ? run.name + ", " : std::string(), "step ", fixed(*event.step, 0), ": ", event.text);
    }
  }
  std::vector<EventMark> marks;
  for (const auto& [key, group] : groups) {
    const std::string more = group.count > 1 ? concat("\nand ", group.count - 1, " more here") : std::string();
    marks.push_back({group.step, key.second, group.text + more});
  }
  return marks;
}

// "Last values: a 0.4, b 0.5", for those who don't see the curves.
std::string description_of(const std::vector<Line>& lines) {
  std::string text;
  for (const Line& line : lines) {
    const auto summary = summary_of(line.samples);
    if (!summary) continue;
    text += concat(text.empty() ? "Last values: " : ", ", line.name, line.name.empty() ? "" : " ",
                   significant(summary->last, 4));
  }
  return text.empty() ? "No value is finite." : text + ".";
}

struct ChartRequest {
  std::string id;
  const FigureInfo& info;
  Interval steps;
  double half_life;
  bool shows_raw = true;
};

LineChart chart_of(const ChartRequest& request, const std::vector<Line>& lines) {
  const FigureInfo& info = request.info;
  LineChart chart;
  chart.id = request.id;
  chart.title = info.title;
  chart.description = description_of(lines);
  chart.x = {"step", ScaleKind::linear, request.steps, {}};
  const Interval domain = domain_of(lines, info);
  chart.y = {info.unit, info.is_logarithmic ? ScaleKind::logarithmic : ScaleKind::linear, domain, {}};
  for (const Line& line : lines) {
    const bool are_few = line.samples.size() <= kFewPoints;
    if (!info.is_noisy || are_few) {
      chart.series.push_back(
          {line.name, line.marker, "", are_few, by_column(line.samples, request.steps, kChartColumns)});
      continue;
    }
    if (request.shows_raw) {
      chart.series.push_back({line.name, line.marker, "", false, by_column(line.samples, request.steps, kChartColumns),
                              SeriesStyle::faint});
    }
    Curve curve = by_column(smoothed(line.samples, request.half_life), request.steps, kChartColumns);
    for (PlotPoint& point : curve) point.low = point.high = point.y;
    chart.series.push_back({line.name, line.marker, "", false, std::move(curve)});
  }
  chart.hovers = hovers_of(lines, request.steps);
  return chart;
}

// The lines of a figure, without those that have no values.
std::vector<Line> lines_of(const std::vector<TrainingRun>& runs, const FigureInfo& info,
                           const Samples& (TrainingRun::*figure)(const std::string&) const) {
  std::vector<Line> lines;
  for (const TrainingRun& run : runs) {
    Line line = {runs.size() > 1 ? run.name : "", run.name, (run.*figure)(info.key)};
    for (auto& [step, value] : line.samples) value = axis_value(info, value);
    if (!line.samples.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

bool is_constant(const std::vector<TrainingRun>& runs, const std::string& step_figure) {
  std::vector<const Samples*> all;
  for (const TrainingRun& run : runs) all.push_back(&run.step_figure(step_figure));
  return holds_one_number(all);
}

RunCharts::RunCharts(const std::vector<TrainingRun>& runs, const Appearance& appearance)
    : runs_(runs), appearance_(appearance) {
  std::vector<const Samples*> all;
  for (const TrainingRun& run : runs) {
    for (const auto* figures : {&run.steps, &run.evaluations}) {
      for (const auto& [name, samples] : *figures) all.push_back(&samples);
    }
  }
  steps_ = steps_of(all).value_or(Interval{0, 1});
  if (steps_.high == steps_.low) steps_.high = steps_.low + 1;
  half_life_ = std::max(1.0, std::round((steps_.high - steps_.low) * kHalfLifeOfSteps));
}

std::string RunCharts::next_id() const { return concat("chart-", ++num_charts_); }

Markup RunCharts::step_chart(const FigureInfo& info, bool shows_events) const {
  const std::vector<Line> lines = lines_of(runs_, info, &TrainingRun::step_figure);
  if (lines.empty() || is_constant(runs_, info.key)) return {};
  LineChart chart = chart_of({next_id(), info, steps_, half_life_}, lines);
  if (shows_events) chart.events = marks_of(runs_, steps_);
  return panel(info.title, chart.svg(appearance_));
}

Markup RunCharts::evaluation_chart(const FigureInfo& info) const {
  const std::vector<Line> lines = lines_of(runs_, info, &TrainingRun::evaluation_figure);
  std::vector<const Samples*> all;
  for (const Line& line : lines) all.push_back(&line.samples);
  if (lines.empty() || (holds_one_number(all) && info.format == FigureFormat::count)) return {};
  LineChart chart = chart_of({next_id(), info, steps_, half_life_}, lines);
  chart.events = marks_of(runs_, steps_);
  return panel(info.title, chart.svg(appearance_));
}

Markup RunCharts::time_chart(const TrainingRun& run) const {
  const Samples& whole = run.step_figure("step_ms");
  if (whole.empty()) return {};
  const FigureInfo info = {"", "Time of a step by part", "ms", FigureFormat::number, BestValue::none, true};
  std::map<double, double> waiting, communication;
  for (const auto& [step, value] : run.step_figure("match_wait_ms")) waiting[step] = value;
  for (const auto& [step, value] : run.step_figure("communication_wait_ms")) communication[step] = value;
  std::vector<Line> parts = {{"automata", "automata", {}}, {"collectives", "collectives", {}}, {"rest", "rest", {}}};
  const auto part_at = [](const std::map<double, double>& values, double step) {
    const auto found = values.find(step);
    return found == values.end() || !std::isfinite(found->second) ? 0.0 : std::max(0.0, found->second);
  };
  for (const auto& [step, value] : whole) {
    if (!std::isfinite(value)) continue;
    const double automata = part_at(waiting, step), ranks = part_at(communication, step);
    parts[0].samples.emplace_back(step, automata);
    parts[1].samples.emplace_back(step, ranks);
    parts[2].samples.emplace_back(step, std::max(0.0, value - automata - ranks));
  }
  LineChart chart = chart_of({next_id(), info, steps_, half_life_}, parts);
  chart.title = info.title + ": " + run.name;
  chart.series.clear();
  std::map<double, double> below;
  for (const Line& part : parts) {
    Curve curve = by_column(part.samples, steps_, kChartColumns);
    for (PlotPoint& point : curve) {
      double& top = below[point.x];
      point.low = top;
      point.high = top += point.y;
      point.y = (point.low + point.high) / 2;
    }
    chart.series.push_back({part.name, part.marker, "", false, std::move(curve), SeriesStyle::area});
  }
  // The axis begins at nothing and ends where all but the longest few steps do.
  const Interval shown = domain_of({{"", "", whole}}, info);
  chart.y.domain = round_interval({0, std::max(shown.high, 1e-6)}, 5);
  Appearance colours;
  for (const Line& part : parts) colours.add(part.marker);
  return panel(runs_.size() > 1 ? info.title + ": " + run.name : info.title, chart.svg(colours));
}

Markup RunCharts::source_chart(const TrainingRun& run, const Appearance& sources) const {
  const FigureInfo& info = source_loss_figure();
  std::vector<Line> lines;
  for (const SourceSteps& source : run.sources) {
    const auto found = source.figures.find(info.key);
    if (found != source.figures.end()) lines.push_back({source.name, source.name, found->second});
  }
  if (lines.empty()) return {};
  const LineChart chart = chart_of({next_id(), info, steps_, half_life_, /*shows_raw=*/lines.size() == 1}, lines);
  return panel(runs_.size() > 1 ? info.title + ": " + run.name : info.title, chart.svg(sources));
}

Markup RunCharts::layer_map(const TrainingRun& run, std::size_t figure) const {
  std::set<double> distinct;
  for (const LayerSteps& layer : run.layers) {
    distinct.insert(layer.steps.begin(), layer.steps.end());
  }
  if (distinct.empty()) return {};
  const FigureInfo& info = layer_figures()[figure];
  const double first = *distinct.begin(), last = std::max(*distinct.rbegin(), first + 1);
  const std::size_t num_columns = std::min<std::size_t>(distinct.size(), kHeatMapColumns);
  const double width = (last - first) / static_cast<double>(num_columns);
  HeatMap map;
  map.id = next_id();
  map.title = info.title + ": " + run.name;
  map.x_title = "step";
  map.mark_name = "collapsed";
  map.value_text = [&info](double value) { return value_text(info, value); };
  for (std::size_t i = 0; i < num_columns; ++i) {
    map.columns.push_back({first + width * static_cast<double>(i), first + width * static_cast<double>(i + 1)});
  }
  double greatest = 0;
  for (const LayerSteps& layer : run.layers) {
    HeatRow row = {concat("layer ", layer.layer), {}, std::vector<bool>(num_columns, false)};
    std::vector<double> sums(num_columns, 0), counts(num_columns, 0);
    for (std::size_t i = 0; i < layer.steps.size(); ++i) {
      const auto place = std::min(static_cast<std::size_t>((layer.steps[i] - first) / width), num_columns - 1);
      const auto value = static_cast<double>(layer.figures[figure][i]);
      if (layer.has_collapsed[i]) row.is_marked[place] = true;
      if (!std::isfinite(value)) continue;
      sums[place] += value;
      counts[place] += 1;
    }
    for (std::size_t i = 0; i < num_columns; ++i) {
      row.values.push_back(counts[i] > 0 ? std::optional(sums[i] / counts[i]) : std::nullopt);
      greatest = std::max(greatest, row.values.back().value_or(0));
      row.is_marked[i] = row.is_marked[i] && row.values[i];
    }
    const auto seen = std::find_if(row.values.rbegin(), row.values.rend(), [](const auto& v) { return v.has_value(); });
    if (seen != row.values.rend()) {
      map.description += concat(map.description.empty() ? "At the end: " : ", ", row.name, " ", map.value_text(**seen));
    }
    map.rows.push_back(std::move(row));
  }
  map.description = map.description.empty() ? "No value is finite." : map.description + ".";
  map.values = {0, info.format == FigureFormat::share ? 1 : greatest};
  return panel(info.title + ", " + info.unit, map.svg());
}

}  // namespace rosa::report
