// Which layers of a student see everything, which get a ROSA adapter, and which are left with their window: chosen one
// by one, by how much of the student's divergence from the teacher a change takes away for the bytes of state that it
// costs. Knows no model: who measures is given (selection_measure.h).
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace rosa::training {

enum class LayerKind { window, rosa, global };

// What every layer of a student is; behind the last one the place before the final norm, which is a window or ROSA.
using LayerKinds = std::vector<LayerKind>;

// Bytes that a token of the text adds to what is kept of it. A window keeps no more as the text grows: 0.
struct StateCosts {
  double global_bytes = 0.0;                           // keys and values of one layer
  std::vector<std::optional<double>> rosa_bytes = {};  // of each place; nothing: no adapter can be chosen there

  double bytes_of(size_t place, LayerKind kind) const;
  double bytes_of(const LayerKinds& kinds) const;
};

struct SelectionLimits {
  double budget = 0.0;       // bytes of state a token
  int64_t max_forwards = 0;  // of the student, each over all sequences; 0: no limit
};

// KL(teacher || student) of each of these students, nats a token.
using MeasureKl = std::function<std::vector<double>(const std::vector<LayerKinds>&)>;

// One change of one layer.
struct LayerChange {
  int64_t layer = 0;
  LayerKind kind = LayerKind::window;
  double bytes = 0.0;  // of the whole student after it, a token
  double kl = 0.0;     // of the whole student after it
};

enum class SelectionEnd { nothing_left, nothing_fits, nothing_improves, max_forwards };

struct LayerSelection {
  LayerKinds start;                  // windows, and layers that are global whatever is chosen
  double start_kl = 0.0;             // of the bare windows
  double start_bytes = 0.0;          // of the layers that are global anyway
  std::vector<LayerChange> single;   // every change of the first round, by itself
  std::vector<LayerChange> changes;  // those taken, in order
  bool all_global = false;           // the last step: all layers global, which no single change led to
  LayerKinds kinds;                  // in the end
  double kl = 0.0, bytes = 0.0;      // in the end
  SelectionEnd end = SelectionEnd::nothing_fits;
  int64_t num_forwards = 0;
  int64_t num_tokens = 0, num_sequences = 0;  // of the measurement; for whoever knows them to fill in

  std::vector<int64_t> layers_of(LayerKind kind) const;
};

// Greedy. Each round measures every change that fits the budget: of a window to ROSA or to global attention, and of
// ROSA to global attention. The one with the largest drop of KL for each byte is taken (before all others one that
// costs nothing or saves bytes, the largest drop first; of equals the lower layer, global attention first), until no
// change fits or lowers the KL. Where the budget holds global attention in all layers, that is measured at the end and
// taken if its KL is lower. `start` holds no ROSA. Throws ConfigError where the budget is below the cheapest change,
// and NumericError where a KL is not finite.
LayerSelection select_layers(const SelectionLimits& limits, const StateCosts& costs, const LayerKinds& start,
                             const MeasureKl& measure);

// The curve of KL against bytes, and what each single change gains.
std::string selection_table(const LayerSelection& selection, const StateCosts& costs);
// The keys of a run's configuration, as YAML.
std::string selection_yaml(const LayerSelection& selection);
nlohmann::ordered_json selection_json(const LayerSelection& selection, const StateCosts& costs);

}  // namespace rosa::training
