#include "training/scoreboard.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

namespace rosa::training {
namespace {

struct Label {
  const char* variant;
  const char* text;
};
// In the order of the table.
constexpr std::array<Label, 7> kLabels = {{{"teacher", "teacher (global attention)"},
                                           {"window", "window only"},
                                           {"rosa", "window + ROSA"},
                                           {"rosa_zeroed", "  ROSA output zeroed"},
                                           {"rosa_shuffled", "  ROSA values shuffled"},
                                           {"rosa_windowed", "  ROSA limited to the window"},
                                           {"rosa_soft_recipe", "  trained by rosa_soft's recipe"}}};

double ce_of(const VariantScore& score, bool recallable) { return recallable ? score.recallable_ce() : score.ce(); }

bool has_gap(const Scores& scores) { return scores.contains("teacher") && scores.contains("window"); }

double gap_of(const Scores& scores, const VariantScore& score, bool recallable) {
  return gap_closed(ce_of(scores.at("window"), recallable), ce_of(score, recallable),
                    ce_of(scores.at("teacher"), recallable));
}

template <class... Args>
std::string formatted(const char* format, Args... args) {
  std::array<char, 256> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, args...);
  return buffer.data();
}

}  // namespace

bool has_recallable(const Scores& scores) {
  return std::any_of(scores.begin(), scores.end(), [](const auto& entry) { return entry.second.num_recallable > 0; });
}

nlohmann::ordered_json scores_json(const Scores& scores, bool recallable) {
  nlohmann::ordered_json json;
  for (const Label& label : kLabels) {
    const auto found = scores.find(label.variant);
    if (found == scores.end()) continue;
    const double ce = ce_of(found->second, recallable);
    json[label.variant] = {{"ce", ce}, {"ppl", std::exp(ce)}};
  }
  if (has_gap(scores) && scores.contains("rosa")) json["gap_closed"] = gap_of(scores, scores.at("rosa"), recallable);
  return json;
}

std::string scores_table(const std::string& title, const Scores& scores) {
  const bool recallable = has_recallable(scores);
  std::string text = formatted("%-34s %8s %9s %7s", title.c_str(), "ce", "ppl", "closed");
  if (recallable) text += formatted("  | recallable: %7s %9s %7s", "ce", "ppl", "closed");
  text += "\n";
  text.append(recallable ? 97 : 61, '-');
  text += "\n";
  const auto columns = [&](const VariantScore& score, bool of_recallable, const std::string& variant) {
    const double ce = ce_of(score, of_recallable);
    std::string cells = formatted("%8.4f %9.3f", ce, std::exp(ce));
    const bool reference = variant == "teacher" || variant == "window";
    cells += has_gap(scores) && !reference ? formatted(" %7.3f", gap_of(scores, score, of_recallable)) : "        ";
    return cells;
  };
  for (const Label& label : kLabels) {
    const auto found = scores.find(label.variant);
    if (found == scores.end()) continue;
    text += formatted("%-34s ", label.text);
    text += columns(found->second, false, label.variant);
    if (recallable) text += formatted("  |            %s", columns(found->second, true, label.variant).c_str());
    text += "\n";
  }
  return text;
}

}  // namespace rosa::training
