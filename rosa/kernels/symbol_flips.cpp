#include "rosa/kernels/symbol_flips.h"

#include <algorithm>

#include "base/error.h"
#include "rosa/kernels/flip_variants.h"
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

void check(Symbols query, Symbols key, int64_t num_bits, std::span<int32_t> positions) {
  require(num_bits >= 1 && num_bits <= kMaxFlipBits, "SymbolFlips: got ", num_bits, " bits, expected 1 to ",
          kMaxFlipBits);
  require(static_cast<int64_t>(query.size()) <= kMaxFlipLength, "SymbolFlips: got ", query.size(),
          " symbols, expected at most ", kMaxFlipLength);
  require(key.size() == query.size() && positions.size() == query.size(), "SymbolFlips: got ", query.size(),
          " queries, ", key.size(), " keys and room for ", positions.size(), " positions, expected equal numbers");
  check_symbols("query", query, num_bits);
  check_symbols("key", key, num_bits);
}

SymbolFlipProblem cut(WorkspaceCutter& cutter, Symbols query, Symbols key, int64_t num_bits,
                      std::span<int32_t> positions) {
  const auto length = static_cast<int64_t>(query.size());
  const int64_t num_flips = length * num_bits;
  SymbolFlipProblem problem{};
  problem.query = query.data();
  problem.key = key.data();
  problem.length = static_cast<int32_t>(length);
  problem.num_bits = static_cast<int32_t>(num_bits);
  problem.positions = positions.data();
  for (uint16_t*& run : problem.runs) run = cutter.take<uint16_t>(length + kPadding);
  problem.newest = cutter.take<int32_t>(int64_t{1} << num_bits);
  problem.best = cutter.take<uint32_t>(length + 1);
  problem.whole = cutter.take<uint32_t>(length + 1);
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

SymbolFlipProblem prepare(Symbols query, Symbols key, int64_t num_bits, std::span<int32_t> positions,
                          std::vector<std::byte>& workspace) {
  check(query, key, num_bits, positions);
  WorkspaceCutter measure(nullptr);
  cut(measure, query, key, num_bits, positions);
  const auto size = static_cast<size_t>(measure.size());
  if (workspace.size() < size) workspace.resize(size);
  WorkspaceCutter cutter(workspace.data());
  return cut(cutter, query, key, num_bits, positions);
}

}  // namespace

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
  const SymbolFlipProblem problem = prepare(query, key, num_bits, positions, workspace_);
  const auto length = static_cast<int64_t>(query.size());
  require(rewards.value_bits >= 1 && rewards.value_bits <= kMaxFlipBits, "SymbolFlips::effects: got ",
          rewards.value_bits, " value bits, expected 1 to ", kMaxFlipBits);
  const auto num_weights = static_cast<int64_t>(rewards.gradient.size());
  require(static_cast<int64_t>(rewards.value.size()) == length && num_weights == length * rewards.value_bits,
          "SymbolFlips::effects: got ", length, " queries, ", rewards.value.size(), " values and ", num_weights,
          " gradients of ", rewards.value_bits, " value bits");
  check_symbols("value", rewards.value, rewards.value_bits);
  for (const std::span<double> effects : {query_effects, key_effects}) {
    require(static_cast<int64_t>(effects.size()) == length * num_bits, "SymbolFlips::effects: room for ",
            effects.size(), " effects, expected ", length * num_bits);
    std::fill(effects.begin(), effects.end(), 0.0);
  }
  MatchRewardSums sums{};
  sums.value = rewards.value.data();
  sums.value_bits = static_cast<int32_t>(rewards.value_bits);
  sums.gradient = rewards.gradient.data();
  sums.effects[0] = query_effects.data();
  sums.effects[1] = key_effects.data();
  chosen_flip_variant().sum_match_rewards(problem, sums);
}

}  // namespace rosa::kernels
