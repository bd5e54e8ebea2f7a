#include "rosa/kernels/local_counterfactual.h"

#include "rosa/automaton/online_automaton.h"
#include "rosa/kernels/symbol_flips_checks.h"

namespace rosa::kernels {
namespace {

// What row `row` gains by matching at `position`.
double reward(const SymbolFlips::Rewards& rewards, int64_t row, int32_t position) {
  if (position < 0) return 0.0;
  double sum = 0.0;
  for (int64_t bit = 0; bit < rewards.value_bits; ++bit) {
    if ((rewards.value[position + 1] >> bit & 1) != 0) {
      sum += static_cast<double>(rewards.gradient[row * rewards.value_bits + bit]);
    }
  }
  return sum;
}

}  // namespace

void LocalCounterfactual::effects(std::span<const uint16_t> query, std::span<const uint16_t> key, int64_t num_bits,
                                  const SymbolFlips::Rewards& rewards, std::span<int32_t> positions,
                                  std::span<double> query_effects, std::span<double> key_effects,
                                  std::span<double> value_effects) {
  check_symbol_flips(query, key, num_bits, positions);
  check_rewards(rewards, query.size());
  clear_effects(query_effects, query.size(), num_bits);
  clear_effects(key_effects, query.size(), num_bits);
  const auto length = static_cast<int64_t>(query.size());
  run_starts_.resize(query.size());
  is_key_.assign(size_t{1} << num_bits, false);
  automaton::OnlineAutomaton keys;  // those before the row
  automaton::Locus locus;           // the match of the row before
  const auto match = [&](uint16_t symbol, automaton::Locus& found) {
    found = {};
    if (!is_key_[symbol]) return -1;  // without trying every suffix
    found = keys.extend(locus, symbol);
    return found.length == 0 ? -1 : keys.latest_end(found);
  };
  for (int64_t t = 0; t < length; ++t) {
    automaton::Locus hard, other;
    const int32_t position = match(query[t], hard);
    const double base = reward(rewards, t, position);
    const bool starts_run = t == 0 || query[t] != query[t - 1];
    for (int64_t bit = 0; starts_run && bit < num_bits; ++bit) {
      const int32_t what_if = match(static_cast<uint16_t>(query[t] ^ 1 << bit), other);
      const double contrast = reward(rewards, t, what_if) - base;
      query_effects[t * num_bits + bit] = contrast;
      if (position >= 0) key_effects[run_starts_[position] * num_bits + bit] += contrast;
      if (what_if >= 0) key_effects[run_starts_[what_if] * num_bits + bit] += contrast;
    }
    positions[t] = position;
    run_starts_[t] = t > 0 && key[t] == key[t - 1] ? run_starts_[t - 1] : static_cast<int32_t>(t);
    locus = hard;
    keys.append(key[t], locus);
    is_key_[key[t]] = true;
  }
  SymbolFlips::value_effects(rewards, positions, value_effects);
}

}  // namespace rosa::kernels
