#include "report/run/tables.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "report/numbers.h"
#include "report/run/curves.h"

namespace rosa::report {
namespace {

using base::concat;
using FigureOf = const Samples& (TrainingRun::*)(const std::string&) const;

constexpr std::size_t kMaxEventRows = 200;
constexpr std::size_t kMaxSampleRows = 12;
constexpr std::size_t kMaxValueCharacters = 300;  // of a setting

const char* name_of(EventKind kind) {
  switch (kind) {
    case EventKind::stage:
      return "stage";
    case EventKind::early_stop:
      return "stopped early";
    case EventKind::resume:
      return "resumed";
    case EventKind::roll_back:
      return "rolled back";
    case EventKind::skipped:
      return "skipped";
    case EventKind::spike:
      return "spike";
    case EventKind::warning:
      return "warning";
    case EventKind::failure:
      return "failed";
  }
  return "";
}

int64_t count_of(const TrainingRun& run, EventKind kind) {
  int64_t count = 0;
  for (const Event& event : run.events) count += event.kind == kind ? event.count : 0;
  return count;
}

std::string row_name(const std::vector<TrainingRun>& runs, const TrainingRun& run, const FigureInfo& info) {
  const std::string title = info.format == FigureFormat::mebibytes ? info.title + ", MiB" : info.title;
  return runs.size() > 1 ? concat(title, ", ", run.name) : title;
}

Cell best_cell(const FigureInfo& info, const FigureSummary& summary) {
  if (info.best == BestValue::none) return {};
  const bool is_lowest = info.best == BestValue::lowest;
  const double value = is_lowest ? summary.lowest : summary.highest;
  return {concat(value_text(info, value), " at ", fixed(is_lowest ? summary.lowest_step : summary.highest_step, 0)), "",
          false};
}

Table figure_table(const std::vector<TrainingRun>& runs, const std::vector<FigureInfo>& figures, FigureOf figure,
                   const std::string& caption) {
  Table table(caption, "figure",
              {{"", "last"}, {"", "best, at step"}, {"", "mean"}, {"", "lowest"}, {"", "highest"}, {"", "not finite"}});
  for (const FigureInfo& info : figures) {
    for (const TrainingRun& run : runs) {
      const Samples& samples = (run.*figure)(info.key);
      if (samples.empty()) continue;
      const auto summary = summary_of(samples);
      Row row = {row_name(runs, run, info), runs.size() > 1 ? run.name : "", false, {}};
      if (summary) {
        row.cells = {{value_text(info, summary->last), "", false},
                     best_cell(info, *summary),
                     {value_text(info, summary->mean), "", false},
                     {value_text(info, summary->lowest), "", false},
                     {value_text(info, summary->highest), "", false}};
      }
      row.cells.resize(5);
      const auto num_not_finite = summary ? summary->num_not_finite : static_cast<int64_t>(samples.size());
      row.cells.push_back({num_not_finite > 0 ? std::to_string(num_not_finite) : "", "", false});
      table.add(std::move(row));
    }
  }
  table.drop_empty_columns();
  return table;
}

std::vector<FigureInfo> not_among(const std::set<std::string>& known, const std::set<std::string>& all) {
  std::vector<FigureInfo> others;
  for (const std::string& name : all) {
    if (!known.contains(name)) others.push_back({name, name, name});
  }
  return others;
}

std::string count_text(int64_t count) { return count > 0 ? fixed(static_cast<double>(count), 0) : ""; }

// Cut, since a list of a thousand names says nothing.
std::string shown_value(const std::string& value) {
  const std::vector<std::string_view> all = characters(value);
  if (all.size() <= kMaxValueCharacters) return value;
  std::string cut;
  for (std::size_t i = 0; i < kMaxValueCharacters; ++i) cut += all[i];
  return cut + "\u2026";
}

}  // namespace

Table overview_table(const std::vector<TrainingRun>& runs, double half_life) {
  Table table("The runs", "run",
              {{"", "steps done"},
               {"loss, smoothed", "last"},
               {"loss, smoothed", "lowest"},
               {"cross-entropy, held out", "last"},
               {"cross-entropy, held out", "lowest"},
               {"mean", "tokens/s"},
               {"mean", "ms a step"},
               {"", "peak MiB"},
               {"", "skipped"},
               {"", "spikes"},
               {"", "resumes"},
               {"", "rolled back"},
               {"", "failures"}});
  std::vector<std::optional<double>> losses, evaluations;
  const auto cell = [](const std::optional<double>& value) {
    return Cell{value ? significant(*value, 4) : "", "", false};
  };
  for (const TrainingRun& run : runs) {
    const auto loss = summary_of(smoothed(run.step_figure("loss"), half_life));
    const auto evaluation = summary_of(run.evaluation_figure("ce"));
    const auto speed = summary_of(run.step_figure("tokens_per_second")), time = summary_of(run.step_figure("step_ms"));
    const auto memory = summary_of(run.step_figure("memory_bytes"));
    const std::string num_steps = run.setting("train.num_steps");
    const auto value = [](const std::optional<FigureSummary>& summary, double FigureSummary::*member) {
      return summary ? std::optional((*summary).*member) : std::nullopt;
    };
    losses.push_back(value(loss, &FigureSummary::lowest));
    evaluations.push_back(value(evaluation, &FigureSummary::lowest));
    table.add({run.name,
               runs.size() > 1 ? run.name : "",
               false,
               {{concat(fixed(run.num_steps_done(), 0), num_steps.empty() ? "" : " of ", num_steps), "", false},
                cell(value(loss, &FigureSummary::last)),
                cell(losses.back()),
                cell(value(evaluation, &FigureSummary::last)),
                cell(evaluations.back()),
                cell(value(speed, &FigureSummary::mean)),
                cell(value(time, &FigureSummary::mean)),
                {memory ? significant(memory->highest / (1 << 20), 4) : "", "", false},
                {count_text(count_of(run, EventKind::skipped)), "", false},
                {count_text(count_of(run, EventKind::spike)), "", false},
                {count_text(count_of(run, EventKind::resume)), "", false},
                {count_text(count_of(run, EventKind::roll_back)), "", false},
                {count_text(count_of(run, EventKind::failure)), "", false}}});
  }
  table.mark_best(2, losses, Best::lowest);
  table.mark_best(4, evaluations, Best::lowest);
  table.drop_empty_columns();
  return table;
}

Table step_table(const std::vector<TrainingRun>& runs, const std::vector<FigureInfo>& figures) {
  return figure_table(runs, figures, &TrainingRun::step_figure, "Over the logged steps");
}

Table evaluation_table(const std::vector<TrainingRun>& runs, const std::vector<FigureInfo>& figures) {
  return figure_table(runs, figures, &TrainingRun::evaluation_figure, "Over the evaluations");
}

Table time_table(const std::vector<TrainingRun>& runs) {
  Table table("Mean time of a step, ms", "run",
              {{"", "whole"}, {"", "waiting for automata"}, {"", "waiting in collectives"}, {"", "rest"}});
  for (const TrainingRun& run : runs) {
    const auto whole = summary_of(run.step_figure("step_ms"));
    if (!whole) continue;
    const auto mean_of = [&run](const char* key) {
      const auto summary = summary_of(run.step_figure(key));
      return summary ? summary->mean : 0.0;
    };
    const double automata = mean_of("match_wait_ms"), communication = mean_of("communication_wait_ms");
    const auto text = [&](double value) {
      const std::string share = whole->mean > 0 ? concat(" (", percent(value / whole->mean), ")") : std::string();
      return Cell{significant(value, 3) + share, "", false};
    };
    table.add({run.name,
               runs.size() > 1 ? run.name : "",
               false,
               {{significant(whole->mean, 3), "", false},
                text(automata),
                text(communication),
                text(std::max(0.0, whole->mean - automata - communication))}});
  }
  return table;
}

Table layer_table(const TrainingRun& run) {
  std::vector<Column> columns;
  for (const FigureInfo& info : layer_figures()) columns.push_back({"", info.title});
  columns.push_back({"", "state"});
  double last = 0;
  for (const LayerSteps& layer : run.layers) last = std::max(last, layer.steps.empty() ? 0 : layer.steps.back());
  Table table(concat("The layers at step ", fixed(last, 0)), "layer", columns);
  for (const LayerSteps& layer : run.layers) {
    if (layer.steps.empty()) continue;
    Row row = {concat("layer ", layer.layer), "", false, {}};
    for (std::size_t i = 0; i < kLayerFigures.size(); ++i) {
      const auto value = static_cast<double>(layer.figures[i].back());
      row.cells.push_back({std::isfinite(value) ? value_text(layer_figures()[i], value) : "", "", false});
    }
    row.cells.push_back({layer.has_collapsed.back() ? "collapsed" : "", "", false});
    table.add(std::move(row));
  }
  table.drop_empty_columns();
  return table;
}

Table source_table(const TrainingRun& run) {
  Table table("The sources, over the logged steps", "source",
              {{"loss", "last"}, {"loss", "mean"}, {"loss", "lowest"}, {"", "sequences a step"}, {"", "epochs"}});
  for (const SourceSteps& source : run.sources) {
    const auto summary = [&source](const char* key) -> std::optional<FigureSummary> {
      const auto found = source.figures.find(key);
      return found == source.figures.end() ? std::nullopt : summary_of(found->second);
    };
    const auto text = [](const std::optional<FigureSummary>& figure, double FigureSummary::*member) {
      return Cell{figure ? significant((*figure).*member, 4) : "", "", false};
    };
    const auto loss = summary("loss"), sequences = summary("num_sequences"), epochs = summary("epochs");
    table.add({source.name,
               source.name,
               false,
               {text(loss, &FigureSummary::last), text(loss, &FigureSummary::mean), text(loss, &FigureSummary::lowest),
                text(sequences, &FigureSummary::mean), text(epochs, &FigureSummary::last)}});
  }
  return table;
}

Table sample_table(const TrainingRun& run) {
  if (run.samples.empty()) return Table("", "", {});
  const TextSamples& last = run.samples.back();
  Table table(concat("After ", fixed(last.step, 0), " steps"), "sample",
              {{"", "held-out text"}, {"", "continued by the student"}, {"", "goes on in the text"}});
  int number = 0;
  for (const TextSample& sample : last.texts) {
    table.add({std::to_string(++number),
               "",
               false,
               {{sample.prompt, "", false}, {sample.continuation, "", false}, {sample.reference, "", false}}});
  }
  table.set_holds_texts();
  return table;
}

Table sample_history_table(const TrainingRun& run) {
  if (run.samples.size() < 2) return Table("", "", {});
  Table table("The first sample over the run", "after steps",
              {{"", "held-out text"}, {"", "continued by the student"}});
  const std::size_t count = std::min(run.samples.size(), kMaxSampleRows);
  for (std::size_t i = 0; i < count; ++i) {
    const TextSamples& samples = run.samples[i * (run.samples.size() - 1) / (count - 1)];
    const TextSample& sample = samples.texts.front();
    table.add({fixed(samples.step, 0), "", false, {{sample.prompt, "", false}, {sample.continuation, "", false}}});
  }
  table.set_holds_texts();
  return table;
}

Table event_table(const std::vector<TrainingRun>& runs) {
  struct Entry {
    const TrainingRun* run;
    const Event* event;
  };
  std::vector<Entry> entries;
  for (const TrainingRun& run : runs) {
    for (const Event& event : run.events) entries.push_back({&run, &event});
  }
  const auto place = [](const Entry& entry) { return entry.event->step.value_or(1e300); };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const Entry& left, const Entry& right) { return place(left) < place(right); });
  const std::size_t num_all = entries.size();
  if (num_all > kMaxEventRows) {
    entries.erase(entries.begin(), entries.end() - static_cast<std::ptrdiff_t>(kMaxEventRows));
  }
  const std::string caption = entries.size() == num_all ? std::string("What happened")
                                                        : concat("What happened: the last ", entries.size(), " of ",
                                                                 num_all, "; the logs hold all");
  Table table(caption, "step", {{"", "run"}, {"", "what"}, {"", "in the log's words"}});
  for (const Entry& entry : entries) {
    table.add({entry.event->step ? fixed(*entry.event->step, 0) : "not known",
               "",
               false,
               {{runs.size() > 1 ? entry.run->name : "", "", false},
                {name_of(entry.event->kind), "", false},
                {entry.event->text, "", false}}});
  }
  table.drop_empty_columns();
  table.set_holds_texts();
  return table;
}

Table configuration_table(const std::vector<TrainingRun>& runs, bool all) {
  if (runs.size() == 1) {
    Table table(all ? "Every setting" : "Settings that are not the default", "setting",
                {{"", "value"}, {"", "comes from"}});
    for (const ConfigEntry& entry : runs[0].configuration) {
      if (!all && entry.source == "default") continue;
      table.add({entry.key, "", false, {{shown_value(entry.value), "", false}, {entry.source, "", false}}});
    }
    table.set_holds_texts();
    return table;
  }
  std::vector<Column> columns;
  std::vector<std::string> keys;  // in the order of the first run that has them
  std::vector<std::map<std::string, std::string>> values;
  std::set<std::string> seen;
  for (const TrainingRun& run : runs) {
    columns.push_back({"", run.name});
    values.emplace_back();
    for (const ConfigEntry& entry : run.configuration) {
      values.back()[entry.key] = entry.value;
      if (seen.insert(entry.key).second) keys.push_back(entry.key);
    }
  }
  Table table(all ? "Every setting" : "Settings in which the runs differ", "setting", columns);
  for (const std::string& key : keys) {
    std::set<std::string> distinct;
    Row row = {key, "", false, {}};
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const auto found = values[i].find(key);
      const bool is_there = found != values[i].end();
      distinct.insert(is_there ? "=" + found->second : "");
      row.cells.push_back({is_there ? shown_value(found->second) : "", "", false});
    }
    if (all || distinct.size() > 1) table.add(std::move(row));
  }
  table.set_holds_texts();
  return table;
}

std::vector<FigureInfo> other_step_figures(const std::vector<TrainingRun>& runs) {
  std::set<std::string> known, all;
  for (const FigureSection& section : step_sections()) {
    for (const FigureInfo& info : section.figures) known.insert(info.key);
  }
  for (const TrainingRun& run : runs) {
    for (const auto& [name, samples] : run.steps) all.insert(name);
  }
  return not_among(known, all);
}

std::vector<FigureInfo> other_evaluation_figures(const std::vector<TrainingRun>& runs) {
  std::set<std::string> known, all;
  for (const FigureInfo& info : evaluation_figures()) known.insert(info.key);
  for (const TrainingRun& run : runs) {
    for (const auto& [name, samples] : run.evaluations) all.insert(name);
  }
  return not_among(known, all);
}

std::vector<int64_t> collapsed_layers(const TrainingRun& run) {
  std::vector<int64_t> layers;
  for (const LayerSteps& layer : run.layers) {
    if (!layer.has_collapsed.empty() && layer.has_collapsed.back()) layers.push_back(layer.layer);
  }
  return layers;
}

}  // namespace rosa::report
