#include "rosa/kernels/symbol_flips.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "rosa/kernels/flip_variants.h"
#include "rosa/kernels/symbol_flips_checks.h"
#include "rosa/kernels/workspace_cutter.h"

namespace rosa::kernels {
namespace {

using base::require;
using Symbols = std::span<const uint16_t>;

constexpr int64_t kPadding = 64;  // of arrays that vectors are read from
constexpr int32_t kBufferedChanges = 1024;

void check_symbols(const char* name, Symbols symbols, int64_t num_bits) {
  const auto wrong = std::find_if(symbols.begin(), symbols.end(), [&](uint16_t s) { return s >> num_bits != 0; });
  require(wrong == symbols.end(), "SymbolFlips: ", name, " symbol ", wrong - symbols.begin(), " is ",
          wrong == symbols.end() ? 0 : static_cast<int>(*wrong), ", expected at most ", num_bits, " bits");
}

SymbolFlipProblem prepare(Symbols query, Symbols key, int64_t num_bits, std::span<int32_t> positions,
                          std::vector<std::byte>& workspace) {
  check_symbol_flips(query, key, num_bits, positions);
  WorkspaceCutter measure(nullptr);
  cut_symbol_flips(measure, query, key, num_bits, positions);
  const auto size = static_cast<size_t>(measure.size());
  if (workspace.size() < size) workspace.resize(size);
  WorkspaceCutter cutter(workspace.data());
  return cut_symbol_flips(cutter, query, key, num_bits, positions);
}

MatchRewardSums sums_of(const SymbolFlips::Rewards& rewards, double* effects) {
  MatchRewardSums sums{};
  sums.value = rewards.value.data();
  sums.value_bits = static_cast<int32_t>(rewards.value_bits);
  sums.gradient = rewards.gradient.data();
  sums.effects[0] = effects;
  return sums;
}

}  // namespace

SymbolFlipProblem cut_symbol_flips(WorkspaceCutter& cutter, Symbols query, Symbols key, int64_t num_bits,
                                   std::span<int32_t> positions) {
  const auto length = static_cast<int64_t>(query.size());
  const int64_t num_flips = length * num_bits;
  SymbolFlipProblem problem{};
  problem.query = query.data();
  problem.key = key.data();
  problem.length = static_cast<int32_t>(length);
  problem.num_bits = static_cast<int32_t>(num_bits);
  problem.positions = positions.data();
  for (void*& run : problem.runs) run = cutter.take<uint16_t>(length + kPadding);
  // So long that few grams of random symbols are found.
  const int64_t gram_bits = std::min<int64_t>(kMaxFlipBits, std::bit_width(static_cast<uint64_t>(length)) + 3);
  problem.gram_order = static_cast<int32_t>(std::max<int64_t>(1, gram_bits / num_bits));
  problem.newest = cutter.take<int32_t>(int64_t{2} << problem.gram_order * num_bits);
  problem.best = cutter.take<uint32_t>(length + 1);
  problem.whole = cutter.take<uint32_t>(length + 1);
  problem.mended_row = cutter.take<int32_t>(length + 1);
  for (int side = 0; side < 2; ++side) {
    problem.mends[side] = cutter.take<uint32_t>(num_flips + num_bits);
    problem.mended_list[side] = cutter.take<int32_t>(num_flips + num_bits);
    problem.searched[side] = cutter.take<int32_t>(num_flips);
    problem.is_active[side] = cutter.take<uint8_t>(num_flips);
    problem.active[side] = cutter.take<ActiveFlip>(num_flips);
  }
  problem.next = cutter.take<ActiveFlip>(num_flips);
  return problem;
}

void check_symbol_flips(Symbols query, Symbols key, int64_t num_bits, std::span<const int32_t> positions) {
  require(num_bits >= 1 && num_bits <= kMaxFlipBits, "SymbolFlips: got ", num_bits, " bits, expected 1 to ",
          kMaxFlipBits);
  require(static_cast<int64_t>(query.size()) <= kMaxFlipLength, "SymbolFlips: got ", query.size(),
          " symbols, expected at most ", kMaxFlipLength);
  require(key.size() == query.size() && positions.size() == query.size(), "SymbolFlips: got ", query.size(),
          " queries, ", key.size(), " keys and room for ", positions.size(), " positions, expected equal numbers");
  check_symbols("query", query, num_bits);
  check_symbols("key", key, num_bits);
}

void check_rewards(const SymbolFlips::Rewards& rewards, size_t length) {
  require(rewards.value_bits >= 1 && rewards.value_bits <= kMaxFlipBits, "SymbolFlips: got ", rewards.value_bits,
          " value bits, expected 1 to ", kMaxFlipBits);
  require(rewards.value.size() == length && rewards.gradient.size() == length * static_cast<size_t>(rewards.value_bits),
          "SymbolFlips: got ", length, " rows, ", rewards.value.size(), " values and ", rewards.gradient.size(),
          " gradients of ", rewards.value_bits, " value bits");
  check_symbols("value", rewards.value, rewards.value_bits);
}

void clear_effects(std::span<double> effects, size_t length, int64_t num_bits) {
  require(effects.size() == length * static_cast<size_t>(num_bits), "SymbolFlips: room for ", effects.size(),
          " effects, expected ", length, " x ", num_bits);
  std::fill(effects.begin(), effects.end(), 0.0);
}

std::span<const MatchChange> SymbolFlips::changes(Symbols query, Symbols key, int64_t num_bits,
                                                  std::span<int32_t> positions) {
  const SymbolFlipProblem problem = prepare(query, key, num_bits, positions, workspace_);
  changes_.clear();
  MatchChange buffer[kBufferedChanges];
  const auto append = [](void* target, const MatchChange* changes, int32_t count) {
    auto& list = *static_cast<std::vector<MatchChange>*>(target);
    list.insert(list.end(), changes, changes + count);
  };
  MatchChangeList list{.buffer = buffer,
                       .capacity = kBufferedChanges,
                       .flush = append,
                       .target = &changes_,
                       .num_bits = static_cast<int32_t>(num_bits)};
  chosen_flip_variant().list_match_changes(problem, list);
  list.finish();
  return changes_;
}

void SymbolFlips::effects(Symbols query, Symbols key, int64_t num_bits, const Rewards& rewards,
                          std::span<int32_t> positions, std::span<double> query_effects,
                          std::span<double> key_effects) {
  check_rewards(rewards, query.size());
  const SymbolFlipProblem problem = prepare(query, key, num_bits, positions, workspace_);
  clear_effects(query_effects, query.size(), num_bits);
  clear_effects(key_effects, query.size(), num_bits);
  MatchRewardSums sums = sums_of(rewards, query_effects.data());
  sums.effects[1] = key_effects.data();
  shared_effects_.assign(query.size(), 0.0);
  sums.key_effects = shared_effects_.data();
  chosen_flip_variant().sum_match_rewards(problem, sums);
  for (size_t flip = 0; flip < key_effects.size(); ++flip) key_effects[flip] += shared_effects_[flip / num_bits];
}

void SymbolFlips::value_effects(const Rewards& rewards, std::span<const int32_t> positions, std::span<double> effects) {
  check_rewards(rewards, positions.size());
  clear_effects(effects, positions.size(), rewards.value_bits);
  const auto length = static_cast<int64_t>(positions.size());
  for (int64_t row = 0; row < length; ++row) {
    const int64_t read = int64_t{positions[row]} + 1;
    require(read >= 0 && read <= row, "SymbolFlips::value_effects: row ", row, " matches at ", positions[row]);
    if (read == 0) continue;
    for (int64_t bit = 0; bit < rewards.value_bits; ++bit) {
      const auto weight = static_cast<double>(rewards.gradient[row * rewards.value_bits + bit]);
      effects[read * rewards.value_bits + bit] += (rewards.value[read] >> bit & 1) != 0 ? -weight : weight;
    }
  }
}

void SymbolFlips::tied_effects(Symbols symbols, int64_t num_bits, const Rewards& rewards, std::span<int32_t> positions,
                               std::span<double> effects) {
  check_rewards(rewards, symbols.size());
  const SymbolFlipProblem problem = prepare(symbols, symbols, num_bits, positions, workspace_);
  clear_effects(effects, symbols.size(), num_bits);
  MatchRewardSums sums = sums_of(rewards, effects.data());
  chosen_flip_variant().sum_tied_rewards(problem, sums);
}

void SymbolFlips::tied_effects(Symbols symbols, int64_t num_bits, std::span<const float> gradient,
                               std::span<int32_t> positions, std::span<double> effects) {
  const SymbolFlipProblem problem = prepare(symbols, symbols, num_bits, positions, workspace_);
  const Rewards rewards{.value = symbols, .value_bits = num_bits, .gradient = gradient};
  check_rewards(rewards, symbols.size());
  clear_effects(effects, symbols.size(), num_bits);
  shared_effects_.assign(effects.size(), 0.0);
  TiedRewardSums sums{.sums = sums_of(rewards, shared_effects_.data())};
  chosen_flip_variant().sum_tied_value_rewards(problem, sums);
  value_effects(rewards, positions, effects);
  for (size_t flip = 0; flip < effects.size(); ++flip) effects[flip] += shared_effects_[flip];
}

}  // namespace rosa::kernels
