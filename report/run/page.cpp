#include "report/run/page.h"

#include <algorithm>

#include "base/error.h"
#include "report/numbers.h"
#include "report/page_head.h"
#include "report/run/charts.h"
#include "report/run/section.h"
#include "report/run/suite_section.h"
#include "report/run/tables.h"
#include "report/style.h"

namespace rosa::report {
namespace {

using base::concat;

Appearance appearance_of(const std::vector<TrainingRun>& runs) {
  Appearance appearance;
  for (const TrainingRun& run : runs) appearance.add(run.name);
  return appearance;
}

Appearance sources_of(const std::vector<TrainingRun>& runs) {
  Appearance appearance;
  for (const TrainingRun& run : runs) {
    for (const SourceSteps& source : run.sources) appearance.add(source.name);
  }
  return appearance;
}

// KL or cross-entropy where it is the whole loss, or no part of it, is not shown beside it.
bool repeats_the_loss(const std::vector<TrainingRun>& runs, const std::string& key) {
  if (key != "kl" && key != "ce") return false;
  return std::all_of(runs.begin(), runs.end(), [&key](const TrainingRun& run) {
    const Samples &part = run.step_figure(key), &loss = run.step_figure("loss");
    return part == loss || std::all_of(part.begin(), part.end(), [](const auto& one) { return one.second == 0; });
  });
}

// Those of the runs' own evaluations, then `files`.
std::vector<SuiteResult> suites_of(const std::vector<TrainingRun>& runs, const std::vector<SuiteResult>& files) {
  std::vector<SuiteResult> suites;
  for (const TrainingRun& run : runs) {
    if (!run.suite) continue;
    suites.push_back(*run.suite);
    suites.back().name = files.empty() ? run.name : run.name + ", last evaluation";
    suites.back().suite = run.setting("evaluation.suite");
  }
  suites.insert(suites.end(), files.begin(), files.end());
  return suites;
}

std::string title_of_run(const std::vector<TrainingRun>& runs, const std::string& title, const TrainingRun& run) {
  return runs.size() > 1 ? concat(title, ": ", run.name) : title;
}

class RunSections {
 public:
  RunSections(const std::vector<TrainingRun>& runs, const std::vector<SuiteResult>& suites)
      : runs_(runs), appearance_(appearance_of(runs)), sources_(sources_of(runs)), charts_(runs, appearance_) {
    add_evaluations();
    for (Section& section : suite_sections(suites_of(runs, suites))) sections_.push_back(std::move(section));
    for (const FigureSection& section : step_sections()) add_figures(section);
    add_figures({"Other figures", "What metrics.jsonl holds besides.", other_step_figures(runs), false});
    for (const TrainingRun& run : runs) add_samples(run);
    for (const TrainingRun& run : runs) add_sources(run);
    for (const TrainingRun& run : runs) add_layers(run);
    sections_.push_back(section("Events", ""));
    sections_.back().tables.push_back(event_table(runs));
    add_configuration();
    std::erase_if(sections_, [](const Section& section) { return section.empty(); });
  }

  const std::vector<Section>& all() const { return sections_; }
  double half_life() const { return charts_.half_life(); }

 private:
  Section section(const std::string& title, const std::string& explanation) const {
    return {.title = title, .explanation = explanation, .panels = {}, .tables = {}, .appearance = appearance_};
  }

  void add_evaluations() {
    std::vector<FigureInfo> figures = evaluation_figures();
    for (FigureInfo& other : other_evaluation_figures(runs_)) figures.push_back(std::move(other));
    Section section =
        this->section("Evaluations", "Over held-out text; a step here is the number of steps done before.");
    for (const FigureInfo& info : figures) section.panels.push_back(charts_.evaluation_chart(info));
    section.tables.push_back(evaluation_table(runs_, figures));
    sections_.push_back(std::move(section));
  }

  void add_figures(const FigureSection& described) {
    Section section = this->section(described.title, described.explanation);
    std::vector<FigureInfo> shown;
    std::string constant;
    for (const FigureInfo& info : described.figures) {
      if (repeats_the_loss(runs_, info.key)) continue;
      shown.push_back(info);
      section.panels.push_back(charts_.step_chart(info, described.shows_events));
      if (is_constant(runs_, info.key)) constant += constant.empty() ? info.title : ", " + info.title;
    }
    if (described.title == "Speed") {
      for (const TrainingRun& run : runs_) section.panels.push_back(charts_.time_chart(run));
      section.tables.push_back(time_table(runs_));
    }
    section.tables.push_back(step_table(runs_, shown));
    if (!constant.empty() && section.has_pictures()) {
      section.explanation += (section.explanation.empty() ? "" : " ");
      section.explanation += "The same throughout, and so only in the table: " + constant + ".";
    }
    sections_.push_back(std::move(section));
  }

  void add_samples(const TrainingRun& run) {
    Section last = section(title_of_run(runs_, "Samples", run),
                           "Beginnings of held-out texts, continued with the likeliest token each time.");
    last.tables.push_back(sample_table(run));
    Section history = section(title_of_run(runs_, "Samples over the run", run), "");
    history.tables.push_back(sample_history_table(run));
    history.is_folded = true;
    sections_.push_back(std::move(last));
    sections_.push_back(std::move(history));
  }

  void add_sources(const TrainingRun& run) {
    if (run.sources.empty()) return;
    sections_.push_back({.title = title_of_run(runs_, "Sources", run),
                         .explanation = "The loss over the sequences of each source, smoothed.",
                         .panels = {charts_.source_chart(run, sources_)},
                         .tables = {source_table(run)},
                         .appearance = sources_});
  }

  void add_layers(const TrainingRun& run) {
    if (run.layers.empty()) return;
    Section section = this->section(
        title_of_run(runs_, "Layers", run),
        "What the automata of each layer saw: mean over the steps of a column, the stronger the colour the greater. A "
        "layer has collapsed where nothing matches or its symbols never change.");
    section.tables.push_back(layer_table(run));
    for (std::size_t i = 0; i < kLayerFigures.size(); ++i) section.panels.push_back(charts_.layer_map(run, i));
    sections_.push_back(std::move(section));
  }

  void add_configuration() {
    Table table = configuration_table(runs_, /*all=*/false);
    const bool are_equal = table.empty() && !configuration_table(runs_, true).empty();
    const char* nothing = !are_equal         ? ""
                          : runs_.size() > 1 ? "The runs do not differ in any setting."
                                             : "Defaults only.";
    Section shown = section("Configuration", nothing), all = section("All settings", "");
    shown.tables.push_back(std::move(table));
    shown.is_needed = are_equal;
    all.tables.push_back(configuration_table(runs_, true));
    all.is_folded = true;
    sections_.push_back(std::move(shown));
    sections_.push_back(std::move(all));
  }

  const std::vector<TrainingRun>& runs_;
  Appearance appearance_, sources_;
  RunCharts charts_;
  std::vector<Section> sections_;
};

std::vector<std::pair<std::string, std::string>> facts_of(const TrainingRun& run) {
  std::string set_aside;
  for (const std::string& name : run.set_aside) set_aside += (set_aside.empty() ? "" : ", ") + name;
  std::vector<std::pair<std::string, std::string>> facts = {
      {"Folder", run.folder.string()},
      {"Run", run.run_id},
      {"Model", run.setting("model.folder")},
      {"Recipe", run.setting("recipe")},
      {"Saved", run.last_saved_step ? concat("step ", fixed(static_cast<double>(*run.last_saved_step), 0), "; ",
                                             run.num_checkpoints, " checkpoints are there")
                                    : std::string()},
      {"Set aside", set_aside}};
  std::erase_if(facts, [](const auto& fact) { return fact.second.empty(); });
  return facts;
}

// In a sentence: how far a run is, and what a reader must not miss.
std::vector<std::string> findings(const TrainingRun& run) {
  std::vector<std::string> found;
  const std::string num_steps = run.setting("train.num_steps");
  if (run.num_step_lines == 0) {
    found.push_back(run.name + " has no step in metrics.jsonl yet.");
  } else {
    found.push_back(concat(run.name, ": ", fixed(run.num_steps_done(), 0), num_steps.empty() ? "" : " of ", num_steps,
                           " steps, ", run.num_step_lines, " of them logged."));
  }
  const auto loss = run.step_figure("loss");
  const auto num_lost =
      std::count_if(loss.begin(), loss.end(), [](const auto& one) { return one.second != one.second; });
  if (num_lost > 0) found.push_back(concat(run.name, ": the loss of ", num_lost, " logged steps is not finite."));
  std::string layers;
  for (const int64_t layer : collapsed_layers(run)) layers += concat(layers.empty() ? "" : ", ", layer);
  if (!layers.empty()) found.push_back(concat(run.name, ": collapsed layers at the last logged step: ", layers, "."));
  const auto failure = std::find_if(run.events.rbegin(), run.events.rend(),
                                    [](const Event& event) { return event.kind == EventKind::failure; });
  if (failure != run.events.rend()) {
    const std::string place = failure->step ? concat(" about step ", fixed(*failure->step, 0)) : std::string();
    found.push_back(concat(run.name, " failed", place, ": ", failure->text));
  }
  return found;
}

std::string page_title(const std::vector<TrainingRun>& runs, const std::vector<SuiteResult>& suites) {
  if (runs.size() > 1) return concat("Comparison of ", runs.size(), " runs");
  if (runs.size() == 1) return runs[0].name;
  return suites.size() == 1 ? suites[0].name : concat("Comparison of ", suites.size(), " results of suites");
}

std::string how_to_read(double half_life) {
  return concat(
      "A curve has at most ", kChartColumns,
      " points: where there are more steps, a thin line shows the mean and its band the lowest and highest "
      "value of the steps that share a point. The thick line is an exponential moving average with a "
      "half-life of ",
      fixed(half_life, 0),
      " steps. Point at a picture for its values; the tables count every logged step. Triangles mark stages, resumes, "
      "failures, roll-backs, skipped steps and spikes.");
}

// What stands above the sections.
Markup head_of(const std::vector<TrainingRun>& runs, double half_life) {
  Markup out;
  out.open("ul", {{"class", "findings"}, {"aria-label", "In short"}});
  for (const TrainingRun& run : runs) {
    for (const std::string& sentence : findings(run)) out.element("li", {}, sentence);
  }
  out.close();
  for (const TrainingRun& run : runs) {
    out.open("dl", {{"class", "facts"}});
    for (const auto& [name, value] : facts_of(run)) out.element("dt", {}, name).element("dd", {}, value);
    out.close();
  }
  out.add(overview_table(runs, half_life).html(appearance_of(runs)));
  return out.element("p", {{"class", "note"}}, how_to_read(half_life));
}

}  // namespace

std::string run_page(const std::vector<TrainingRun>& runs, const std::vector<SuiteResult>& suites, int refresh_s) {
  const RunSections sections(runs, suites);
  const std::string title = page_title(runs, suites);
  Markup out;
  out.open("html", {{"lang", "en"}});
  write_page_head(out, {.title = title, .style = run_style_sheet(), .refresh_s = refresh_s});
  out.open("body").open("header").element("h1", {}, title).close().open("main").open("article");
  if (!runs.empty()) out.add(head_of(runs, sections.half_life()));
  for (const Section& section : sections.all()) out.add(section.html());
  out.close().close().element("footer", {}, "Made by rosa report.").close().close();
  return "<!DOCTYPE html>\n" + out.str() + "\n";
}

std::string run_markdown(const std::vector<TrainingRun>& runs, const std::vector<SuiteResult>& suites) {
  const RunSections sections(runs, suites);
  std::string out = "# " + markdown_text(page_title(runs, suites)) + "\n\n";
  for (const TrainingRun& run : runs) {
    for (const std::string& sentence : findings(run)) out += "- " + markdown_text(sentence) + "\n";
    for (const auto& [name, value] : facts_of(run)) out += concat("- ", name, ": ", markdown_text(value), "\n");
  }
  if (!runs.empty()) out += concat("\n", overview_table(runs, sections.half_life()).markdown());
  for (const Section& section : sections.all()) {
    if (!section.is_folded) out += section.markdown();
  }
  return out;
}

}  // namespace rosa::report
