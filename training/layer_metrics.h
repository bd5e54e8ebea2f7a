// What the symbols and matches of each layer looked like in one step: summed over micro-batches, heads and ranks, for
// metrics.jsonl and the demo's report; and the warning where a layer has collapsed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "models/gate_statistics.h"
#include "parallel/communicator.h"
#include "rosa/automaton/match_pool.h"

namespace rosa::training {

struct LayerMetrics {
  int64_t layer = 0;
  double matched_share = 0.0;      // of the positions
  double mean_match_length = 0.0;  // of the matches
  int64_t max_match_length = 0;
  // [0]: positions without a match; [b]: with one of 2^(b-1) to 2^b - 1 symbols; without the zeros at the end.
  std::vector<int64_t> match_lengths;
  double query_entropy = 0.0, key_entropy = 0.0;  // bits a symbol, all heads together
  // Shares of the heads' bits: never 1, and never changing (the dead ones included). Keys are counted for every query
  // head that reads them.
  double dead_query_bits = 0.0, constant_query_bits = 0.0, dead_key_bits = 0.0, constant_key_bits = 0.0;
  double agreement = 0.0;                      // share of the positions whose query and key symbols are equal
  double gate_mean = 1.0, closed_gates = 0.0;  // models/gate_statistics.h; 1 and 0 where there are no gates

  // Whether the layer can tell nothing: no match anywhere, or symbols that never change.
  bool has_collapsed() const { return matched_share == 0.0 || constant_query_bits == 1.0 || constant_key_bits == 1.0; }
};

// The layers' statistics over all ranks, in order of the layers; `num_bits`: of a query or key symbol. Sums of whole
// numbers: the same for any number of ranks. Every rank has the same layers, heads and gates. Collective: every rank
// calls it.
std::vector<LayerMetrics> reduce_layer_statistics(const std::map<int64_t, automaton::LayerStatistics>& layers,
                                                  const models::GateStatistics& gates, int64_t num_bits,
                                                  parallel::Communicator& communicator);

nlohmann::ordered_json to_json(const LayerMetrics& metrics);

// The layers of the last step in a metrics.jsonl; empty where there are none. Throws DataError naming file and line
// where the file is damaged, and FileError.
std::vector<LayerMetrics> last_layer_metrics(const std::filesystem::path& metrics_file);

// A line a layer, for people.
std::string layer_table(const std::vector<LayerMetrics>& layers);

// Says once of each layer that it has collapsed.
class CollapseWarning {
 public:
  // Returns the warnings that are new, one a layer.
  std::vector<std::string> check(const std::vector<LayerMetrics>& layers, int64_t step);

 private:
  std::set<int64_t> warned_;
};

}  // namespace rosa::training
