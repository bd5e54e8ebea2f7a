#include "training/layer_metrics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>

#include "base/error.h"
#include "base/json.h"
#include "training/metric_fields.h"

namespace rosa::training {
namespace {

using automaton::LayerStatistics;
using automaton::MatchStatistics;
using automaton::SymbolStatistics;
using HeadBits = LayerStatistics::HeadBits;

// The numbers of a layer that are added over ranks, in one fixed order; `visit` gets each of them.
template <class Statistics, class Visit>
void visit_sums(Statistics& sums, const Visit& visit) {
  for (auto* number : {&sums.num_positions, &sums.num_matched, &sums.total_length, &sums.num_agreeing,
                       &sums.query.num_symbols, &sums.key.num_symbols}) {
    visit(*number);
  }
  for (auto& count : sums.length_counts) visit(count);
  for (auto& count : sums.query.counts) visit(count);
  for (auto& count : sums.key.counts) visit(count);
}

// Whether bit `bit` of a head's queries (then keys) has been 1 (then 0) anywhere: what is not, is so on every rank.
template <class Visit>
void visit_bits(const HeadBits& head, int64_t num_bits, const Visit& visit) {
  for (int64_t bit = 0; bit < num_bits; ++bit) {
    for (const uint64_t mask : {head.query_ever_set, ~head.query_always_set, head.key_ever_set, ~head.key_always_set}) {
      visit(static_cast<int64_t>(mask >> bit & 1));
    }
  }
}

struct BitShares {
  double dead_query = 0, constant_query = 0, dead_key = 0, constant_key = 0;
};

// From the flags of visit_bits() of all heads.
BitShares bit_shares(const int64_t* flags, int64_t num_heads, int64_t num_bits) {
  BitShares shares;
  const auto num_all = static_cast<double>(std::max<int64_t>(1, num_heads * num_bits));
  int64_t dead_query = 0, constant_query = 0, dead_key = 0, constant_key = 0;
  for (int64_t i = 0; i < num_heads * num_bits; ++i, flags += 4) {
    dead_query += flags[0] == 0;
    constant_query += flags[0] == 0 || flags[1] == 0;
    dead_key += flags[2] == 0;
    constant_key += flags[2] == 0 || flags[3] == 0;
  }
  shares.dead_query = static_cast<double>(dead_query) / num_all;
  shares.constant_query = static_cast<double>(constant_query) / num_all;
  shares.dead_key = static_cast<double>(dead_key) / num_all;
  shares.constant_key = static_cast<double>(constant_key) / num_all;
  return shares;
}

LayerMetrics metrics_of(int64_t layer, const MatchStatistics& sums, const BitShares& bits) {
  LayerMetrics metrics;
  metrics.layer = layer;
  metrics.matched_share = sums.matched_share();
  metrics.mean_match_length = sums.mean_length();
  metrics.max_match_length = sums.max_length;
  metrics.match_lengths.assign(sums.length_counts.begin(), sums.length_counts.end());
  while (!metrics.match_lengths.empty() && metrics.match_lengths.back() == 0) metrics.match_lengths.pop_back();
  metrics.query_entropy = sums.query.entropy();
  metrics.key_entropy = sums.key.entropy();
  metrics.dead_query_bits = bits.dead_query;
  metrics.constant_query_bits = bits.constant_query;
  metrics.dead_key_bits = bits.dead_key;
  metrics.constant_key_bits = bits.constant_key;
  metrics.agreement = sums.agreement();
  return metrics;
}

}  // namespace

std::vector<LayerMetrics> reduce_layer_statistics(const std::map<int64_t, LayerStatistics>& layers,
                                                  const models::GateStatistics& gates, int64_t num_bits,
                                                  parallel::Communicator& communicator) {
  if (layers.empty()) return {};
  std::vector<int64_t> sums, maxima;
  for (const auto& [layer, statistics] : layers) {
    visit_sums(statistics.sums, [&](int64_t number) { sums.push_back(number); });
    maxima.push_back(statistics.sums.max_length);
    for (const HeadBits& head : statistics.heads) {
      visit_bits(head, num_bits, [&](int64_t flag) { maxima.push_back(flag); });
    }
  }
  for (const auto& [layer, counts] : gates) {
    for (const int64_t number : {counts.num, counts.num_closed, counts.sum}) sums.push_back(number);
  }
  sums = communicator.all_reduce_values(sums, parallel::Reduction::sum);
  maxima = communicator.all_reduce_values(maxima, parallel::Reduction::max);

  std::vector<LayerMetrics> result;
  const int64_t* sum = sums.data();
  const int64_t* maximum = maxima.data();
  for (const auto& [layer, statistics] : layers) {
    MatchStatistics total;
    visit_sums(total, [&](int64_t& number) { number = *sum++; });
    total.max_length = static_cast<int32_t>(*maximum++);
    const auto num_heads = static_cast<int64_t>(statistics.heads.size());
    result.push_back(metrics_of(layer, total, bit_shares(maximum, num_heads, num_bits)));
    maximum += 4 * num_heads * num_bits;
  }
  for (const auto& [layer, counts] : gates) {
    const models::GateCounts total{.num = sum[0], .num_closed = sum[1], .sum = sum[2]};
    sum += 3;
    const auto found = std::find_if(result.begin(), result.end(),
                                    [layer = layer](const LayerMetrics& metrics) { return metrics.layer == layer; });
    base::require(found != result.end(), "layer ", layer, " has gates and no matches");
    found->gate_mean = total.mean();
    found->closed_gates = total.closed_share();
  }
  return result;
}

nlohmann::ordered_json to_json(const LayerMetrics& metrics) {
  nlohmann::ordered_json json = {{"layer", metrics.layer}};
  add_fields(json, layer_fields(), metrics);
  json["match_lengths"] = metrics.match_lengths;
  return json;
}

std::vector<LayerMetrics> last_layer_metrics(const std::filesystem::path& metrics_file) {
  std::vector<LayerMetrics> layers;
  if (!std::filesystem::exists(metrics_file)) return layers;
  base::read_json_lines(metrics_file, [&](const base::JsonFields& line, std::string_view) {
    if (!line.has("layers")) return;
    layers.clear();
    for (const base::JsonFields& fields : line.objects("layers")) {
      LayerMetrics metrics;
      metrics.layer = fields.integer("layer").value_or(0);
      metrics.match_lengths = fields.integers("match_lengths");
      for (const auto& field : layer_fields()) {
        const std::string name(field.name);
        if (const auto* whole = std::get_if<int64_t LayerMetrics::*>(&field.value)) {
          metrics.*(*whole) = fields.integer(name.c_str()).value_or(0);
        } else {
          metrics.*std::get<double LayerMetrics::*>(field.value) = fields.number(name.c_str()).value_or(0);
        }
      }
      layers.push_back(std::move(metrics));
    }
  });
  return layers;
}

std::string layer_table(const std::vector<LayerMetrics>& layers) {
  std::string table = "layer  matched  mean length  longest  entropy q / k  constant bits q / k  q = k\n";
  for (const LayerMetrics& layer : layers) {
    std::array<char, 160> line{};
    std::snprintf(line.data(), line.size(),
                  "%5lld  %6.1f%%  %11.2f  %7lld  %6.2f / %4.2f  %9.1f%% / %5.1f%%  %4.1f%%%s\n",
                  static_cast<long long>(layer.layer), 100 * layer.matched_share, layer.mean_match_length,
                  static_cast<long long>(layer.max_match_length), layer.query_entropy, layer.key_entropy,
                  100 * layer.constant_query_bits, 100 * layer.constant_key_bits, 100 * layer.agreement,
                  layer.has_collapsed() ? "  COLLAPSED" : "");
    table += line.data();
  }
  return table;
}

std::vector<std::string> CollapseWarning::check(const std::vector<LayerMetrics>& layers, int64_t step) {
  std::vector<std::string> warnings;
  for (const LayerMetrics& layer : layers) {
    if (!layer.has_collapsed() || !warned_.insert(layer.layer).second) continue;
    const char* what = layer.constant_query_bits == 1.0 ? "its query symbols never change"
                       : layer.constant_key_bits == 1.0 ? "its key symbols never change"
                                                        : "none of its positions has a match";
    warnings.push_back(base::concat("layer ", layer.layer, " has collapsed (step ", step, "): ", what,
                                    ", so its adapter retrieves nothing that tells positions apart; try a lower "
                                    "learning rate, another adapter.tie_start or fewer adapter.query_key_bits"));
  }
  return warnings;
}

}  // namespace rosa::training
