#include "training/suite/layer_selection.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace rosa::training {
namespace {

void require_finite_kl(double kl) {
  base::require<base::NumericError>(std::isfinite(kl), "the KL from teacher to student is ", kl,
                                    ", which is not finite: do model and data belong together, and is ",
                                    "model.compute_dtype wide enough?");
}

// One selection under way.
class Greedy {
 public:
  Greedy(const SelectionLimits& limits, const StateCosts& costs, const LayerKinds& start, const MeasureKl& measure)
      : limits_(limits), costs_(costs), measure_(measure) {
    selection_.start = selection_.kinds = start;
    selection_.start_bytes = selection_.bytes = costs.bytes_of(start);
  }

  LayerSelection run() {
    require_a_change_that_fits();
    selection_.start_kl = selection_.kl = measured({selection_.kinds}).front();
    while (take_best_change()) {
    }
    if (selection_.end != SelectionEnd::max_forwards) try_all_global();
    return std::move(selection_);
  }

 private:
  size_t num_layers() const { return selection_.kinds.size() - 1; }

  // Of every layer, global attention first; whatever they cost.
  std::vector<LayerChange> possible_changes() const {
    std::vector<LayerChange> changes;
    for (size_t place = 0; place < selection_.kinds.size(); ++place) {
      const LayerKind own = selection_.kinds[place];
      for (const LayerKind kind : {LayerKind::global, LayerKind::rosa}) {
        const bool is_possible = kind == LayerKind::global
                                     ? place < num_layers() && own != LayerKind::global
                                     : own == LayerKind::window && costs_.rosa_bytes[place].has_value();
        if (!is_possible) continue;
        LayerChange change{.layer = static_cast<int64_t>(place), .kind = kind, .bytes = 0.0, .kl = 0.0};
        change.bytes = costs_.bytes_of(with(change));
        changes.push_back(change);
      }
    }
    return changes;
  }

  void require_a_change_that_fits() const {
    const std::vector<LayerChange> changes = possible_changes();
    base::require<base::ConfigError>(!changes.empty(), "every layer has global attention already ",
                                     "(student.sliding_window): there is nothing to choose");
    const auto cheapest = std::min_element(
        changes.begin(), changes.end(), [](const auto& left, const auto& right) { return left.bytes < right.bytes; });
    base::require<base::ConfigError>(cheapest->bytes <= limits_.budget, "--budget: ", limits_.budget,
                                     " bytes of state a token are below the cheapest choice, ", cheapest->bytes, " (",
                                     cheapest->kind == LayerKind::global ? "global attention" : "ROSA", " in one layer",
                                     selection_.start_bytes > 0 ? ", beside those that are global anyway" : "",
                                     "); give at least these");
  }

  LayerKinds with(const LayerChange& change) const {
    LayerKinds kinds = selection_.kinds;
    kinds[static_cast<size_t>(change.layer)] = change.kind;
    return kinds;
  }

  std::vector<double> measured(const std::vector<LayerKinds>& students) {
    std::vector<double> kls = measure_(students);
    base::require(kls.size() == students.size(), "a selection asked for ", students.size(), " figures and got ",
                  kls.size());
    for (const double kl : kls) require_finite_kl(kl);
    selection_.num_forwards += static_cast<int64_t>(students.size());
    return kls;
  }

  bool has_forwards_left(size_t count) const {
    return limits_.max_forwards == 0 || selection_.num_forwards + static_cast<int64_t>(count) <= limits_.max_forwards;
  }

  // The drop for each byte that it costs; what costs nothing comes before all that costs something. Nothing where the
  // KL does not get lower.
  std::optional<std::pair<bool, double>> worth(const LayerChange& change) const {
    const double drop = selection_.kl - change.kl, cost = change.bytes - selection_.bytes;
    if (!(drop > 0)) return std::nullopt;
    return cost > 0 ? std::pair(false, drop / cost) : std::pair(true, drop);
  }

  // Returns whether there was one.
  bool take_best_change() {
    std::vector<LayerChange> changes = possible_changes();
    if (changes.empty()) {
      selection_.end = SelectionEnd::nothing_left;
      return false;
    }
    std::erase_if(changes, [this](const LayerChange& change) { return change.bytes > limits_.budget; });
    if (changes.empty()) {
      selection_.end = SelectionEnd::nothing_fits;
      return false;
    }
    if (!has_forwards_left(changes.size())) {
      selection_.end = SelectionEnd::max_forwards;
      return false;
    }
    std::vector<LayerKinds> students;
    for (const LayerChange& change : changes) students.push_back(with(change));
    const std::vector<double> kls = measured(students);
    std::optional<std::pair<bool, double>> best_worth;
    size_t best = 0;
    for (size_t i = 0; i < changes.size(); ++i) {
      changes[i].kl = kls[i];
      const auto own = worth(changes[i]);
      if (!own || (best_worth && *own <= *best_worth)) continue;
      best_worth = own;
      best = i;
    }
    if (selection_.single.empty()) selection_.single = changes;
    if (!best_worth) {
      selection_.end = SelectionEnd::nothing_improves;
      return false;
    }
    selection_.kinds = std::move(students[best]);
    selection_.kl = changes[best].kl;
    selection_.bytes = changes[best].bytes;
    selection_.changes.push_back(changes[best]);
    return true;
  }

  // Single changes can stop short of it.
  void try_all_global() {
    LayerKinds kinds(selection_.kinds.size(), LayerKind::global);
    kinds.back() = LayerKind::window;
    const double bytes = costs_.bytes_of(kinds);
    if (kinds == selection_.kinds || bytes > limits_.budget || !has_forwards_left(1)) return;
    const double kl = measured({kinds}).front();
    if (!(kl < selection_.kl)) return;
    selection_.kinds = std::move(kinds);
    selection_.kl = kl;
    selection_.bytes = bytes;
    selection_.all_global = true;
  }

  const SelectionLimits& limits_;
  const StateCosts& costs_;
  const MeasureKl& measure_;
  LayerSelection selection_;
};

}  // namespace

double StateCosts::bytes_of(size_t place, LayerKind kind) const {
  if (kind == LayerKind::global) return global_bytes;
  return kind == LayerKind::rosa ? rosa_bytes[place].value() : 0.0;
}

double StateCosts::bytes_of(const LayerKinds& kinds) const {
  double bytes = 0.0;
  for (size_t place = 0; place < kinds.size(); ++place) bytes += bytes_of(place, kinds[place]);
  return bytes;
}

std::vector<int64_t> LayerSelection::layers_of(LayerKind kind) const {
  std::vector<int64_t> layers;
  for (size_t place = 0; place < kinds.size(); ++place) {
    if (kinds[place] == kind) layers.push_back(static_cast<int64_t>(place));
  }
  return layers;
}

LayerSelection select_layers(const SelectionLimits& limits, const StateCosts& costs, const LayerKinds& start,
                             const MeasureKl& measure) {
  base::require(start.size() >= 2 && costs.rosa_bytes.size() == start.size(), "a selection of ", start.size(),
                " places got ", costs.rosa_bytes.size(), " costs");
  return Greedy(limits, costs, start, measure).run();
}

}  // namespace rosa::training
