#include "report/experiment/sample_lines.h"

#include <algorithm>

#include "base/error.h"
#include "report/experiment/comparison.h"

namespace rosa::report {
namespace {

using base::concat;

constexpr std::size_t kMaxLines = 12;  // of an arm
constexpr std::size_t kMaxOpenArms = 6;

// A blank that is marked must be seen.
std::string visible(std::string_view character) { return std::string(character == " " ? "\u2423" : character); }

void write_row(Markup& out, const std::string& name, const std::string& text, const std::string& gold) {
  const auto shown = characters(text), wanted = characters(gold);
  std::size_t num_right = 0;
  out.open("tr").element("th", {{"scope", "row"}}, name).open("td", {{"class", "characters"}});
  std::string right;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (i < wanted.size() && shown[i] == wanted[i]) {
      right += shown[i];
      ++num_right;
      continue;
    }
    out.text(right).element("mark", {}, visible(shown[i]));
    right.clear();
  }
  out.text(right).close();
  out.element("td", {{"class", "count"}}, concat(num_right, " of ", wanted.size(), " right")).close();
}

void write_line(Markup& out, const SampleLine& line) {
  out.open("tbody").open("tr").element("th", {{"scope", "row"}}, "gold");
  out.element("td", {{"class", "characters"}}, line.gold).element("td", {}, "").close();
  if (!line.rosa.empty()) write_row(out, "ROSA", line.rosa, line.gold);
  if (!line.model.empty()) write_row(out, "model", line.model, line.gold);
  out.close();
}

}  // namespace

Markup sample_lines(const Experiment& experiment) {
  Markup out;
  for (const std::size_t arm : arm_order(experiment)) {
    const std::vector<const Run*> runs = experiment.runs_of(arm);
    const auto run = std::find_if(runs.begin(), runs.end(),
                                  [](const Run* one) { return one->result && !one->result->lines.empty(); });
    if (run == runs.end()) continue;
    const std::vector<SampleLine>& lines = (*run)->result->lines;
    const std::string name = concat(experiment.arms[arm].label, ", seed ", (*run)->seed);
    Attributes attributes = {{"class", "samples"}};
    if (out.empty() || experiment.arms.size() <= kMaxOpenArms) attributes.emplace_back("open", "open");
    out.open("details", attributes).element("summary", {}, name);
    out.open("div", {{"class", "scroll"}, {"tabindex", "0"}, {"role", "region"}, {"aria-label", "Lines of " + name}});
    out.open("table", {{"class", "lines"}});
    for (std::size_t i = 0; i < std::min(lines.size(), kMaxLines); ++i) write_line(out, lines[i]);
    out.close().close().close();
  }
  return out;
}

}  // namespace rosa::report
