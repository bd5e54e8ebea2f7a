#include "report/experiment/page.h"

#include <algorithm>

#include "base/error.h"
#include "report/experiment/comparison.h"
#include "report/experiment/figures.h"
#include "report/experiment/sample_lines.h"
#include "report/experiment/tables.h"
#include "report/numbers.h"
#include "report/page_head.h"
#include "report/style.h"

namespace rosa::report {
namespace {

using base::concat;

// Colours and markers in the order in which names come up, over all experiments of the page.
Appearance appearance_of(const std::vector<Experiment>& experiments) {
  Appearance appearance;
  for (const Experiment& experiment : experiments) {
    for (const Arm& arm : experiment.arms) appearance.add(arm.estimator);
    for (const VarianceStudy& study : experiment.variance) appearance.add(study.estimator);
    for (const TimingStudy& study : experiment.timing) appearance.add(study.kernel);
  }
  return appearance;
}

std::vector<std::pair<std::string, std::string>> facts_of(const Experiment& experiment) {
  std::string settings;
  for (const auto& [name, value] : experiment.settings) settings += (settings.empty() ? "" : ", ") + name + " " + value;
  std::string seeds;
  for (const int64_t seed : experiment.seeds) seeds += (seeds.empty() ? "" : ", ") + std::to_string(seed);
  std::vector<std::pair<std::string, std::string>> facts = {
      {"Task", experiment.task},       {"Command", experiment.command},
      {"Machine", experiment.machine}, {"Ranks", experiment.world_size ? fixed(*experiment.world_size, 0) : ""},
      {"Commit", experiment.commit},   {"Date", experiment.date},
      {"Settings", settings},          {"Seeds", seeds}};
  std::erase_if(facts, [](const auto& fact) { return fact.second.empty(); });
  return facts;
}

std::vector<std::string> unfinished_runs(const Experiment& experiment) {
  std::vector<std::string> names;
  const std::string num_steps = experiment.setting("num_steps");
  for (const Run& run : experiment.runs) {
    if (run.result) continue;
    const std::string name = concat(experiment.arms[run.arm].label, ", seed ", run.seed);
    const std::string place = run.last_step() > 0 ? "at step " + fixed(run.last_step(), 0) : "not begun";
    names.push_back(concat(name, ": ", place, run.last_step() > 0 && !num_steps.empty() ? " of " + num_steps : ""));
  }
  return names;
}

// A section of tables and figures; what is empty is left out, and with it a section that has nothing.
struct Section {
  std::string title, explanation;
  std::vector<Markup> parts;
  std::string missing;  // what the folder lacks where the section is empty; may be empty

  bool empty() const {
    return std::all_of(parts.begin(), parts.end(), [](const Markup& part) { return part.empty(); });
  }
};

Markup html_of(const Table& table, const Appearance& appearance) {
  return table.empty() ? Markup() : table.html(appearance);
}

std::vector<Section> sections_of(const Experiment& experiment, const Appearance& appearance,
                                 const std::string& prefix) {
  const Figures figures(experiment, appearance, prefix);
  const auto html = [&](const Table& table) { return html_of(table, appearance); };
  std::vector<Section> sections;
  sections.push_back(
      {"Final loss",
       "Held-out loss after the same number of steps, and after the same seconds of training. Zeroed: the same model "
       "with ROSA's output forced to zero at evaluation; where that changes nothing, ROSA was not used. A star "
       "marks the best of a column, “none” aside.",
       {figures.final_loss(), html(training_table(experiment)), html(scope_table(experiment))},
       "finished runs"});
  sections.push_back({"Loss during training", "", {figures.loss_curves()}, "training losses"});
  sections.push_back(
      {"The gradient",
       "Variance and bias are relative to the norm of a reference gradient; microseconds are of one call. Variance × "
       "time tells what a gradient of a given variance costs. Variance is starred among estimators whose bias is at "
       "most 0.2, since one that ignores the data has none.",
       {html(gradient_table(experiment)), figures.variance_by_samples(), figures.variance_by_step()},
       "variance studies"});
  sections.push_back({"Linearisation", "", {figures.linearisation()}, "linearisation studies"});
  sections.push_back({"Counting", "", {html(counting_table(experiment))}, ""});
  sections.push_back({"What the model writes",
                      "Characters that are not those of the gold line are underlined and set on a tint; ␣ is a blank.",
                      {sample_lines(experiment)},
                      experiment.task == "counting" ? "qualitative lines" : ""});
  sections.push_back({"Recall by distance",
                      "",
                      {figures.accuracy_by_distance(), html(distance_table(experiment))},
                      experiment.task == "recall" ? "accuracies by distance" : ""});
  sections.push_back({"Time", "", {figures.timing(), html(timing_table(experiment))}, "timings"});
  return sections;
}

void write_facts(Markup& out, const Experiment& experiment) {
  out.open("dl", {{"class", "facts"}});
  for (const auto& [name, value] : facts_of(experiment)) {
    out.element("dt", {}, name).open("dd");
    const bool is_code = name == "Command" || name == "Commit";
    if (is_code) {
      out.element("code", {}, value);
    } else {
      out.text(value);
    }
    out.close();
  }
  out.close();
}

void write_unfinished(Markup& out, const Experiment& experiment) {
  const std::vector<std::string> names = unfinished_runs(experiment);
  if (names.empty()) return;
  out.open("div", {{"class", "status"}}).open("details");
  out.element("summary", {},
              concat("Unfinished: ", names.size(), " of ", experiment.runs.size(),
                     " runs. Tables count finished runs only; curves show all."));
  out.open("ul");
  for (const std::string& name : names) out.element("li", {}, name);
  out.close().close().close();
}

void write_notes(Markup& out, const Experiment& experiment) {
  const auto has_note = [](const Arm& arm) { return !arm.note.empty(); };
  if (std::none_of(experiment.arms.begin(), experiment.arms.end(), has_note)) return;
  out.open("ul", {{"class", "note"}});
  for (const Arm& arm : experiment.arms) {
    if (has_note(arm)) out.element("li", {}, arm.label + ": " + arm.note);
  }
  out.close();
}

void write_experiment(Markup& out, const Experiment& experiment, const Appearance& appearance, const std::string& id) {
  out.open("article", {{"id", id}, {"aria-labelledby", id + "-heading"}});
  out.element("h2", {{"id", id + "-heading"}}, experiment.title);
  if (!experiment.description.empty()) out.element("p", {{"class", "lead"}}, experiment.description);
  write_facts(out, experiment);
  const std::vector<std::string> found = findings(experiment);
  if (!found.empty()) {
    out.open("ul", {{"class", "findings"}, {"aria-label", "In short"}});
    for (const std::string& sentence : found) out.element("li", {}, sentence);
    out.close();
  }
  write_unfinished(out, experiment);
  write_notes(out, experiment);
  std::string missing;
  for (const Section& section : sections_of(experiment, appearance, id + "-")) {
    if (section.empty()) {
      // An experiment that compares no arms trains nothing, and lacks nothing but timings.
      const bool is_expected = !section.missing.empty() && (!experiment.arms.empty() || section.missing == "timings");
      if (is_expected) missing += (missing.empty() ? "no " : ", no ") + section.missing;
      continue;
    }
    out.open("section").element("h3", {}, section.title);
    if (!section.explanation.empty()) out.element("p", {{"class", "note"}}, section.explanation);
    for (const Markup& part : section.parts) out.add(part);
    out.close();
  }
  if (!missing.empty()) out.element("p", {{"class", "note missing"}}, "This folder holds " + missing + ".");
  out.close();
}

std::string page_title(const std::vector<Experiment>& experiments) {
  return experiments.size() == 1 ? experiments[0].title : "Comparison of gradient estimators";
}

}  // namespace

std::string experiment_page(const std::vector<Experiment>& experiments) {
  const Appearance appearance = appearance_of(experiments);
  const std::string title = page_title(experiments);
  Markup out;
  out.open("html", {{"lang", "en"}});
  write_page_head(out, {.title = title, .style = std::string(style_sheet())});
  out.open("body").open("header").element("h1", {}, title);
  if (experiments.size() > 1) {
    out.open("nav", {{"aria-label", "Experiments"}}).open("ul");
    for (std::size_t i = 0; i < experiments.size(); ++i) {
      out.open("li").element("a", {{"href", concat("#e", i)}}, experiments[i].title).close();
    }
    out.close().close();
  }
  out.close().open("main");
  for (std::size_t i = 0; i < experiments.size(); ++i)
    write_experiment(out, experiments[i], appearance, concat("e", i));
  out.close().element("footer", {}, "Made by rosa report.").close().close();
  return "<!DOCTYPE html>\n" + out.str() + "\n";
}

std::string experiment_markdown(const std::vector<Experiment>& experiments) {
  std::string out;
  for (const Experiment& experiment : experiments) {
    out += (out.empty() ? "# " : "\n# ") + markdown_text(experiment.title) + "\n\n";
    if (!experiment.description.empty()) out += markdown_text(experiment.description) + "\n\n";
    for (const auto& [name, value] : facts_of(experiment)) {
      const bool is_code = name == "Command" || name == "Commit";
      out += "- " + name + ": " + (is_code ? markdown_code(value) : markdown_text(value)) + "\n";
    }
    for (const std::string& sentence : findings(experiment))
      out += (sentence == findings(experiment)[0] ? "\n" : "") + markdown_text(sentence) + "\n";
    if (const auto names = unfinished_runs(experiment); !names.empty()) {
      out += concat("\nUnfinished: ", names.size(), " of ", experiment.runs.size(),
                    " runs; the tables count the others only.\n");
    }
    const std::pair<const char*, Table> tables[] = {{"Final loss", training_table(experiment)},
                                                    {"Loss at equal steps by reward scope", scope_table(experiment)},
                                                    {"The gradient", gradient_table(experiment)},
                                                    {"Counting", counting_table(experiment)},
                                                    {"Recall by distance", distance_table(experiment)},
                                                    {"Time", timing_table(experiment)}};
    for (const auto& [title, table] : tables) {
      if (!table.empty()) out += concat("\n## ", title, "\n\n", table.markdown());
    }
  }
  return out;
}

}  // namespace rosa::report
