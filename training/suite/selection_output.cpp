// What a selection says: the table, the keys, the JSON.
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/formatted.h"
#include "training/suite/layer_selection.h"

namespace rosa::training {
namespace {

using nlohmann::ordered_json;

const char* name_of(LayerKind kind) {
  if (kind == LayerKind::global) return "global attention";
  return kind == LayerKind::rosa ? "ROSA" : "window";
}

const char* key_of(LayerKind kind) {
  if (kind == LayerKind::global) return "global";
  return kind == LayerKind::rosa ? "rosa" : "window";
}

// Name in the JSON, and in words.
std::pair<const char*, const char*> texts_of(SelectionEnd end) {
  switch (end) {
    case SelectionEnd::nothing_left:
      return {"all_layers", "no layer is left to change"};
    case SelectionEnd::nothing_fits:
      return {"budget", "no further change fits the budget"};
    case SelectionEnd::nothing_improves:
      return {"no_gain", "no further change that fits lowers the KL"};
    case SelectionEnd::max_forwards:
      return {"max_forwards", "the next round would take more forwards than --max-forwards"};
  }
  return {"", ""};
}

std::string list_text(const std::vector<int64_t>& numbers) {
  std::string text = "[";
  for (const int64_t number : numbers) text += base::concat(text.size() > 1 ? ", " : "", number);
  return text + "]";
}

std::string place_text(const LayerSelection& selection, int64_t layer) {
  const bool is_last = layer == static_cast<int64_t>(selection.kinds.size()) - 1;
  return is_last ? base::concat("layer ", layer, " (before the final norm)") : base::concat("layer ", layer);
}

// [layer, what its change gains by itself]
std::string single_table(const LayerSelection& selection) {
  std::string text = base::formatted("%-8s %22s %22s\n", "layer", "global attention", "ROSA");
  for (size_t place = 0; place < selection.kinds.size(); ++place) {
    std::string global = "-", rosa = "-";
    for (const LayerChange& change : selection.single) {
      if (change.layer != static_cast<int64_t>(place)) continue;
      (change.kind == LayerKind::global ? global : rosa) =
          base::formatted("%+.5f (%.1f B)", change.kl - selection.start_kl, change.bytes - selection.start_bytes);
    }
    if (global == "-" && rosa == "-") continue;
    text += base::formatted("%-8zu %22s %22s\n", place, global.c_str(), rosa.c_str());
  }
  return text;
}

ordered_json json_of(const LayerChange& change) {
  return {{"layer", change.layer}, {"kind", key_of(change.kind)}, {"bytes_per_token", change.bytes}, {"kl", change.kl}};
}

}  // namespace

std::string selection_table(const LayerSelection& selection, const StateCosts& costs) {
  std::string text = base::formatted(
      "KL(teacher || student) in nats a token, over %lld tokens of %lld sequences; %lld forwards of the student\n\n",
      static_cast<long long>(selection.num_tokens), static_cast<long long>(selection.num_sequences),
      static_cast<long long>(selection.num_forwards));
  text += base::concat("By itself, a change of one layer changes the KL by (for bytes of state a token):\n\n",
                       single_table(selection), "\n");
  const auto row = [](double bytes, double kl, const std::string& what) {
    return base::formatted("%14.1f %9.5f  %s\n", bytes, kl, what.c_str());
  };
  text += base::formatted("%14s %9s  %s\n", "bytes a token", "KL", "change");
  text += row(selection.start_bytes, selection.start_kl, "windows only");
  for (const LayerChange& change : selection.changes) {
    text += row(change.bytes, change.kl, base::concat(place_text(selection, change.layer), ": ", name_of(change.kind)));
  }
  if (selection.all_global) text += row(selection.bytes, selection.kl, "global attention in all layers");
  text +=
      base::concat("\n", selection.all_global ? "the budget holds all layers" : texts_of(selection.end).second, "\n");
  const double all = costs.global_bytes * static_cast<double>(selection.kinds.size() - 1);
  text += base::formatted("global attention in all layers would be %.1f bytes a token\n", all);
  return text;
}

std::string selection_yaml(const LayerSelection& selection) {
  std::string text =
      base::concat("student:\n  global_layers: ", list_text(selection.layers_of(LayerKind::global)), "\n");
  const std::vector<int64_t> adapters = selection.layers_of(LayerKind::rosa);
  if (adapters.empty())
    return text + "# adapter.layers: no layer was given ROSA; [] would mean an adapter in every one\n";
  return text + base::concat("adapter:\n  layers: ", list_text(adapters), "\n");
}

ordered_json selection_json(const LayerSelection& selection, const StateCosts& costs) {
  ordered_json json = {{"student.global_layers", selection.layers_of(LayerKind::global)},
                       {"adapter.layers", selection.layers_of(LayerKind::rosa)},
                       {"kl", selection.kl},
                       {"bytes_per_token", selection.bytes},
                       {"start", {{"bytes_per_token", selection.start_bytes}, {"kl", selection.start_kl}}},
                       {"changes", ordered_json::array()},
                       {"single_changes", ordered_json::array()},
                       {"all_global", selection.all_global},
                       {"ended_by", texts_of(selection.end).first},
                       {"costs", {{"global", costs.global_bytes}, {"rosa", ordered_json::array()}}},
                       {"num_tokens", selection.num_tokens},
                       {"num_sequences", selection.num_sequences},
                       {"num_forwards", selection.num_forwards}};
  for (const LayerChange& change : selection.changes) json["changes"].push_back(json_of(change));
  for (const LayerChange& change : selection.single) json["single_changes"].push_back(json_of(change));
  for (const auto& bytes : costs.rosa_bytes) json["costs"]["rosa"].push_back(bytes ? ordered_json(*bytes) : nullptr);
  return json;
}

}  // namespace rosa::training
