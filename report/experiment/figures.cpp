#include "report/experiment/figures.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "report/experiment/comparison.h"
#include "report/line_chart.h"
#include "report/numbers.h"
#include "report/strip_plot.h"

namespace rosa::report {
namespace {

using base::concat;

constexpr std::size_t kMaxLossPoints = 60;
constexpr std::size_t kMaxTickValues = 9;

struct Panel {
  std::string title;
  std::vector<Series> series;
};

// What a figure says of its axes; the domains come from its curves.
struct FigureText {
  std::string id, caption, x_title, y_title;
  ScaleKind x_kind = ScaleKind::linear, y_kind = ScaleKind::linear;
  bool marks_x_values = false;  // ticks where the points are
};

template <class Use>
void for_each_point(const std::vector<Panel>& panels, Use use) {
  for (const Panel& panel : panels) {
    for (const Series& series : panel.series) {
      for (const PlotPoint& point : series.curve) use(point);
    }
  }
}

Interval domain_of(const std::vector<double>& values, ScaleKind kind) {
  Interval domain = {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const double value : values) {
    if (kind == ScaleKind::logarithmic && value <= 0) continue;
    domain.low = std::min(domain.low, value);
    domain.high = std::max(domain.high, value);
  }
  if (domain.low > domain.high) return {1, 10};
  return domain;
}

// Half a step of 1, 2, 5 around a logarithmic domain.
Interval with_margin(Interval domain) { return {domain.low / 1.25, domain.high * 1.25}; }

// "Ends: a 0.4, b 0.5", for those who don't see the curves.
std::string description_of(const Panel& panel) {
  std::string text = "At their right ends: ";
  for (const Series& series : panel.series) {
    if (series.curve.empty()) continue;
    text += concat(series.name, " ", significant(series.curve.back().y), ", ");
  }
  text.resize(text.size() - 2);
  return text + ".";
}

void write_panel(Markup& out, const LineChart& chart, const std::string& title, const Appearance& appearance) {
  out.open("div", {{"class", "panel"}});
  if (!title.empty()) out.element("p", {{"class", "panel-title"}}, title);
  out.add(chart.svg(appearance)).close();
}

struct Axes {
  Axis x, y;
};

Axes axes_of(const std::vector<Panel>& panels, const FigureText& text) {
  std::vector<double> xs, ys;
  for_each_point(panels, [&](const PlotPoint& point) {
    xs.push_back(point.x);
    ys.insert(ys.end(), {point.y, point.low, point.high});
  });
  Axes axes;
  axes.x = {text.x_title, text.x_kind, domain_of(xs, text.x_kind), {}};
  axes.y = {text.y_title, text.y_kind, domain_of(ys, text.y_kind), {}};
  const std::set<double> distinct(xs.begin(), xs.end());
  if (text.marks_x_values && distinct.size() <= kMaxTickValues)
    axes.x.tick_values.assign(distinct.begin(), distinct.end());
  if (text.y_kind == ScaleKind::logarithmic) {
    // A band that reaches down to nothing must not stretch the axis.
    ys.clear();
    for_each_point(panels, [&](const PlotPoint& point) { ys.push_back(point.y); });
    axes.y.domain = with_margin(domain_of(ys, text.y_kind));
  } else {
    axes.y.domain = round_interval(axes.y.domain, 5);
  }
  return axes;
}

void write_panels(Markup& out, const std::vector<Panel>& panels, const FigureText& text, const Axes& axes,
                  const Appearance& appearance) {
  int number = 0;
  for (const Panel& panel : panels) {
    LineChart chart = {concat(text.id, "-", ++number),
                       panel.title.empty() ? text.caption : text.caption + ": " + panel.title,
                       description_of(panel),
                       axes.x,
                       axes.y,
                       panel.series};
    write_panel(out, chart, panel.title, appearance);
  }
}

void open_figure(Markup& out, const std::string& caption) {
  out.open("figure").element("figcaption", {}, caption + ".").open("div", {{"class", "panels"}});
}

Markup figure_of(std::vector<Panel> panels, const FigureText& text, const Appearance& appearance) {
  std::erase_if(panels, [](const Panel& panel) {
    return std::all_of(panel.series.begin(), panel.series.end(), [](const Series& s) { return s.curve.empty(); });
  });
  Markup out;
  if (panels.empty()) return out;
  open_figure(out, text.caption);
  write_panels(out, panels, text, axes_of(panels, text), appearance);
  return out.close().close();
}

// Panels by arm_groups with the curve of each arm.
template <class CurveOf>
std::vector<Panel> panels_by_group(const Experiment& experiment, bool marks_points, CurveOf curve_of) {
  std::vector<Panel> panels;
  for (const ArmGroup& group : arm_groups(experiment)) {
    Panel panel = {group.title, {}};
    for (std::size_t i = 0; i < group.arms.size(); ++i) {
      const Arm& arm = experiment.arms[group.arms[i]];
      const std::string dash = group.title.empty() ? dash_of_scope(arm.scope) : "";
      Curve curve = curve_of(group.arms[i]);
      if (!curve.empty()) panel.series.push_back({group.names[i], arm.estimator, dash, marks_points, std::move(curve)});
    }
    panels.push_back(std::move(panel));
  }
  return panels;
}

// An arm's training loss against what `place` takes of a line. Ends where the first finished run ends, for a mean over
// ever fewer seeds jumps.
template <class Place>
Curve loss_curve(const Experiment& experiment, std::size_t arm, Place place) {
  std::vector<Samples> all;
  double end = std::numeric_limits<double>::infinity();
  for (const Run* run : experiment.runs_of(arm)) {
    Samples samples;
    for (const LossPoint& point : run->losses) {
      if (point.loss) samples.emplace_back(place(point), *point.loss);
    }
    if (samples.empty()) continue;
    if (run->result) end = std::min(end, samples.back().first);
    all.push_back(thin(samples, kMaxLossPoints));
  }
  return mean_interpolated(all, end, static_cast<int>(kMaxLossPoints));
}

// The seconds of the comparison at equal time.
std::optional<double> budget_seconds(const Experiment& experiment) {
  const std::string text = experiment.setting("seconds");
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  const bool is_number =
      error == std::errc() && end == text.data() + text.size() && std::isfinite(seconds) && seconds > 0;
  return is_number ? std::optional(seconds) : std::nullopt;
}

// The losses to show: without the first moments, which would press all that follows into a line at the bottom.
Interval loss_domain(const std::vector<Panel>& panels) {
  std::vector<double> late, ends;
  for (const Panel& panel : panels) {
    for (const Series& series : panel.series) {
      const std::size_t skipped = series.curve.size() / 20;
      for (std::size_t i = skipped; i < series.curve.size(); ++i) late.push_back(series.curve[i].y);
      ends.push_back(series.curve.back().high);
    }
  }
  const double low = *std::min_element(late.begin(), late.end());
  const double most = quantile(late, 0.97), usual_end = quantile(ends, 0.9);
  return round_interval({low, std::max(most, usual_end)}, 5);
}

void sort_by_x(Curve& curve) {
  std::stable_sort(curve.begin(), curve.end(), [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
}

Panel& panel_named(std::vector<Panel>& panels, const std::string& title) {
  const auto found =
      std::find_if(panels.begin(), panels.end(), [&](const Panel& panel) { return panel.title == title; });
  return found == panels.end() ? panels.emplace_back(Panel{title, {}}) : *found;
}

// Scope and estimator of what was studied, each once, without the control.
std::vector<std::pair<std::string, std::string>> studied(const Experiment& experiment) {
  std::vector<std::pair<std::string, std::string>> names;
  for (const VarianceStudy& study : experiment.variance) {
    const std::pair name(study.scope, study.estimator);
    const bool is_new = std::find(names.begin(), names.end(), name) == names.end();
    if (is_new && study.estimator != "none" && study.variance) names.push_back(name);
  }
  return names;
}

// The newest variance at each number of samples; those that are zero are left out.
Curve variance_curve(const Experiment& experiment, const std::string& scope, const std::string& estimator) {
  std::map<double, const VarianceStudy*> newest;
  for (const VarianceStudy& study : experiment.variance) {
    if (study.scope != scope || study.estimator != estimator || !study.variance || study.num_samples <= 0) continue;
    const VarianceStudy*& kept = newest[study.num_samples];
    if (kept == nullptr || study.step >= kept->step) kept = &study;
  }
  Curve curve;
  for (const auto& [samples, study] : newest) {
    const double variance = *study->variance;
    if (variance > 0) curve.push_back({samples, variance, variance, variance});
  }
  return curve;
}

std::string variance_caption(const std::vector<std::string>& without_variance) {
  std::string caption = "Variance against the number of samples K, by reward scope; both axes logarithmic";
  if (without_variance.empty()) return caption;
  caption += ". Not shown, since their variance is zero: ";
  for (const std::string& name : without_variance) caption += (name == without_variance[0] ? "" : ", ") + name;
  return caption;
}

}  // namespace

Markup Figures::final_loss() const {
  Markup out;
  Markup plots;
  const std::pair<const char*, std::optional<Score> Result::*> budgets[] = {{"equal steps", &Result::equal_steps},
                                                                            {"equal time", &Result::equal_time}};
  for (const auto& [name, score] : budgets) {
    const ResultValue loss = score_value(score, &Score::loss);
    StripPlot plot;
    plot.id = id_prefix_ + "final-" + std::to_string(score == &Result::equal_steps ? 1 : 2);
    plot.title = concat("Loss at ", name, ", by arm");
    plot.axis_title = concat("loss at ", name);
    for (std::size_t arm = 0; arm < experiment_.arms.size(); ++arm) {
      std::vector<double> values = values_of(experiment_, arm, loss);
      if (values.empty()) continue;
      if (experiment_.arms[arm].is_control()) plot.reference = summarise(values)->mean;
      plot.strips.push_back({experiment_.arms[arm].label, experiment_.arms[arm].estimator, std::move(values)});
    }
    if (plot.strips.empty()) continue;
    std::stable_sort(plot.strips.begin(), plot.strips.end(), [](const Strip& a, const Strip& b) {
      return summarise(a.values)->mean < summarise(b.values)->mean;
    });
    if (plot.reference) plot.reference_name = "none";
    plot.description = concat("Lowest: ", plot.strips.front().name, ", highest: ", plot.strips.back().name,
                              ". The table below has the numbers.");
    plots.open("div", {{"class", "panel"}}).element("p", {{"class", "panel-title"}}, concat("At ", name));
    plots.add(plot.svg(appearance_)).close();
  }
  if (plots.empty()) return out;
  open_figure(
      out,
      "Final loss: a mark for each seed, a stroke at the mean, a bar of one deviation to each side. The dashed line is "
      "“none”, the one to beat");
  return out.add(plots).close().close();
}

Markup Figures::loss_curves() const {
  const std::vector<Panel> by_steps = panels_by_group(experiment_, false, [this](std::size_t arm) {
    return loss_curve(experiment_, arm, [](const auto& p) { return p.step; });
  });
  const std::vector<Panel> by_seconds = panels_by_group(experiment_, false, [this](std::size_t arm) {
    return loss_curve(experiment_, arm, [](const auto& p) { return p.seconds; });
  });
  Markup out;
  FigureText steps = {id_prefix_ + "loss-steps", "Training loss against steps", "step", "training loss"};
  FigureText seconds = {id_prefix_ + "loss-seconds", "Training loss against time", "seconds", "training loss"};
  std::vector<Panel> panels;
  std::copy_if(by_steps.begin(), by_steps.end(), std::back_inserter(panels),
               [](const auto& p) { return !p.series.empty(); });
  if (panels.empty()) return out;
  Axes step_axes = axes_of(by_steps, steps), second_axes = axes_of(by_seconds, seconds);
  step_axes.y.domain = second_axes.y.domain = loss_domain(panels);
  const std::optional<double> budget = budget_seconds(experiment_);
  if (budget && 2 * *budget > second_axes.x.domain.low)
    second_axes.x.domain.high = std::min(second_axes.x.domain.high, 2 * *budget);
  open_figure(
      out,
      "Training loss against steps and against seconds of training: mean over seeds, with a band of one deviation to "
      "each side. Curves that leave the panel are cut at its edge");
  for (std::size_t i = 0; i < by_steps.size(); ++i) {
    if (by_steps[i].series.empty()) continue;
    // Side by side: the same arms on both axes.
    const std::string number = "-" + std::to_string(i);
    const std::string title = by_steps[i].title.empty() ? "" : by_steps[i].title + ", ";
    const auto chart_of = [&](const FigureText& text, const Axes& axes, const Panel& panel) {
      return LineChart{text.id + number, text.caption, description_of(panel), axes.x, axes.y, panel.series};
    };
    write_panel(out, chart_of(steps, step_axes, by_steps[i]), title + "against steps", appearance_);
    LineChart against_seconds = chart_of(seconds, second_axes, by_seconds[i]);
    if (budget && *budget <= second_axes.x.domain.high) against_seconds.x_reference = budget;
    against_seconds.x_reference_name = "equal time";
    write_panel(out, against_seconds, title + "against seconds", appearance_);
  }
  return out.close().close();
}

Markup Figures::variance_by_samples() const {
  std::vector<Panel> panels;
  std::vector<std::string> without_variance;
  for (const auto& [scope, estimator] : studied(experiment_)) {
    Curve curve = variance_curve(experiment_, scope, estimator);
    if (curve.empty()) {
      without_variance.push_back(scope.empty() ? estimator : estimator + "/" + scope);
      continue;
    }
    panel_named(panels, scope_title(scope)).series.push_back({estimator, estimator, "", true, std::move(curve)});
  }
  bool has_curve = false;
  for (const Panel& panel : panels) {
    for (const Series& series : panel.series) has_curve = has_curve || series.curve.size() > 1;
  }
  if (!has_curve) return {};
  return figure_of(std::move(panels),
                   {id_prefix_ + "variance-samples", variance_caption(without_variance), "samples K",
                    "relative variance", ScaleKind::logarithmic, ScaleKind::logarithmic, true},
                   appearance_);
}

Markup Figures::variance_by_step() const {
  std::set<double> steps;
  for (const VarianceStudy& study : experiment_.variance) steps.insert(study.step);
  if (steps.size() < 2) return {};
  std::vector<Panel> panels = panels_by_group(experiment_, true, [this](std::size_t arm) {
    Curve curve;
    const Arm& wanted = experiment_.arms[arm];
    for (const VarianceStudy& study : experiment_.variance) {
      const bool is_its_own =
          study.label == wanted.label && study.num_samples == static_cast<double>(wanted.num_samples);
      if (!is_its_own || wanted.is_control() || !study.variance || *study.variance <= 0) continue;
      curve.push_back({study.step, *study.variance, *study.variance, *study.variance});
    }
    sort_by_x(curve);
    return curve;
  });
  return figure_of(
      std::move(panels),
      {id_prefix_ + "variance-steps", "Variance during training, at each arm's number of samples; logarithmic", "step",
       "relative variance", ScaleKind::linear, ScaleKind::logarithmic, false},
      appearance_);
}

Markup Figures::linearisation() const {
  std::vector<Panel> panels = panels_by_group(experiment_, true, [this](std::size_t arm) {
    std::vector<Samples> all;
    for (const Run* run : experiment_.runs_of(arm)) {
      Samples samples;
      for (const Correlation& point : run->linearisation) samples.emplace_back(point.step, point.value);
      all.push_back(std::move(samples));
    }
    return mean_at_equal_x(all);
  });
  return figure_of(std::move(panels),
                   {id_prefix_ + "linearisation",
                    "Correlation, over flips of single bits, of the change of loss that the gradient predicts with the "
                    "true one: 1 is perfect",
                    "step", "correlation"},
                   appearance_);
}

Markup Figures::accuracy_by_distance() const {
  std::vector<Panel> panels = panels_by_group(experiment_, true, [this](std::size_t arm) {
    std::vector<Samples> all;
    for (const Run* run : experiment_.runs_of(arm)) {
      if (!run->result) continue;
      Samples samples;
      for (const DistanceAccuracy& point : run->result->by_distance) {
        if (point.distance > 0) samples.emplace_back(point.distance, point.accuracy);
      }
      all.push_back(std::move(samples));
    }
    return mean_at_equal_x(all);
  });
  return figure_of(std::move(panels),
                   {id_prefix_ + "distance", "Recall: accuracy against the distance to what is to be recalled",
                    "distance, tokens", "accuracy", ScaleKind::logarithmic, ScaleKind::linear, true},
                   appearance_);
}

Markup Figures::timing() const {
  std::set<double> all_bits;
  for (const TimingStudy& study : experiment_.timing) all_bits.insert(study.bits);
  std::vector<Panel> panels;
  for (const TimingStudy& study : experiment_.timing) {
    const std::string bits =
        all_bits.size() > 1 ? concat(", ", fixed(study.bits, 0), study.bits == 1 ? " bit" : " bits") : "";
    const std::string title = study.family + bits;
    std::vector<Series>& series = panel_named(panels, title).series;
    auto kernel =
        std::find_if(series.begin(), series.end(), [&](const Series& one) { return one.name == study.kernel; });
    if (kernel == series.end()) kernel = series.insert(kernel, {study.kernel, study.kernel, "", true, {}});
    if (study.length > 0 && study.microseconds > 0) {
      kernel->curve.push_back({study.length, study.microseconds, study.microseconds, study.microseconds});
    }
  }
  for (Panel& panel : panels) {
    for (Series& series : panel.series) sort_by_x(series.curve);
  }
  return figure_of(std::move(panels),
                   {id_prefix_ + "timing",
                    "Time of one channel (or head) against its length T, by family of inputs; both axes "
                    "logarithmic",
                    "length T", "µs", ScaleKind::logarithmic, ScaleKind::logarithmic, true},
                   appearance_);
}

}  // namespace rosa::report
