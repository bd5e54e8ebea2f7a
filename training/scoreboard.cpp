#include "training/scoreboard.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/formatted.h"

namespace rosa::training {
namespace {

using base::formatted;

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
                                           {"rosa_soft_recipe", "  trained by rosa_soft_20251121"}}};

const SequenceSums& sums_of(const VariantScore& score, bool recallable) {
  return recallable ? score.recallable : score.all;
}

bool has_gap(const Scores& scores) { return scores.contains("teacher") && scores.contains("window"); }

std::optional<double> closed_by(const Scores& scores, const VariantScore& score, bool recallable) {
  return gap_closed(sums_of(scores.at("window"), recallable), sums_of(score, recallable),
                    sums_of(scores.at("teacher"), recallable));
}

}  // namespace

bool has_recallable(const Scores& scores) {
  return std::any_of(scores.begin(), scores.end(),
                     [](const auto& entry) { return entry.second.recallable.total.count > 0; });
}

nlohmann::ordered_json scores_json(const Scores& scores, bool recallable) {
  nlohmann::ordered_json json;
  int64_t num_sequences = 0;
  for (const Label& label : kLabels) {
    const auto found = scores.find(label.variant);
    if (found == scores.end()) continue;
    const TokenSums& sums = sums_of(found->second, recallable).total;
    json[label.variant] = {
        {"ce", sums.mean()}, {"ppl", std::exp(sums.mean())}, {"num_tokens", static_cast<int64_t>(sums.count)}};
    num_sequences = std::max(num_sequences, found->second.num_sequences);
  }
  json["num_sequences"] = num_sequences;
  if (!has_gap(scores) || !scores.contains("rosa")) return json;
  if (const auto closed = closed_by(scores, scores.at("rosa"), recallable)) json["gap_closed"] = *closed;
  return json;
}

std::string scores_table(const std::string& title, const Scores& scores) {
  const bool recallable = has_recallable(scores);
  std::string text = formatted("%-34s %9s %8s %9s %7s", title.c_str(), "tokens", "ce", "ppl", "closed");
  if (recallable) text += formatted("  | recallable: %9s %8s %9s %7s", "tokens", "ce", "ppl", "closed");
  text += "\n";
  text.append(recallable ? 119 : 71, '-');
  text += "\n";
  bool is_gap_unclear = false;
  const auto columns = [&](const VariantScore& score, bool of_recallable, const std::string& variant) {
    const TokenSums& sums = sums_of(score, of_recallable).total;
    const std::string cells =
        formatted("%9lld %8.4f %9.3f", static_cast<long long>(sums.count), sums.mean(), std::exp(sums.mean()));
    const bool is_reference = variant == "teacher" || variant == "window";
    if (!has_gap(scores) || is_reference) return cells + "        ";
    const auto closed = closed_by(scores, score, of_recallable);
    is_gap_unclear = is_gap_unclear || !closed;
    return cells + (closed ? formatted(" %7.3f", *closed) : formatted(" %7s", "n/a"));
  };
  int64_t num_sequences = 0;
  for (const Label& label : kLabels) {
    const auto found = scores.find(label.variant);
    if (found == scores.end()) continue;
    num_sequences = std::max(num_sequences, found->second.num_sequences);
    text += formatted("%-34s ", label.text);
    text += columns(found->second, false, label.variant);
    if (recallable) text += formatted("  |             %s", columns(found->second, true, label.variant).c_str());
    text += "\n";
  }
  text += formatted("over %lld held-out sequences\n", static_cast<long long>(num_sequences));
  if (is_gap_unclear) {
    text += "closed is n/a where window only is not clearly worse than the teacher: its gap could be chance\n";
  }
  return text;
}

}  // namespace rosa::training
