// One sequence to the flip kernels of every instruction set (flip_variants.h): its memory, and what takes the changes.
#pragma once

#include "rosa/kernels/symbol_flips.h"

namespace rosa::kernels {

class WorkspaceCutter;

// A flip whose row matches at another distance than without it.
struct ActiveFlip {
  int32_t flip;  // symbol's position * num_bits + bit
  int32_t position;
  int32_t distance;  // 0: no match
};

// One sequence and the memory to work in, all owned by the caller. Tied flips use arrays of one side. Sizes: T =
// length, F = T * num_bits.
struct SymbolFlipProblem {
  const uint16_t* query;
  const uint16_t* key;
  int32_t length;
  int32_t num_bits;
  int32_t* positions;
  void* runs[5];                 // T + 64 of 16 bits each
  int32_t gram_order;            // the longest grams, strings of so many symbols, of which the newest is known
  int32_t* newest;               // 2^(gram_order * num_bits + 1): where each gram last ended
  uint32_t *best, *whole;        // T + 1
  int32_t* mended_row;           // T + 1: by rows since the query, the last row in which its mended runs were searched
  uint32_t* mends[2];            // F + num_bits each: best mended run by (rows since the query or key, bit)
  int32_t* mended_list[2];       // F + num_bits each: the entries of `mends` that hold one
  int32_t* searched[2];          // F each
  uint8_t* is_active[2];         // F each
  ActiveFlip *active[2], *next;  // F each
};

// Cuts the memory of a sequence out of a workspace.
SymbolFlipProblem cut_symbol_flips(WorkspaceCutter& cutter, std::span<const uint16_t> query,
                                   std::span<const uint16_t> key, int64_t num_bits, std::span<int32_t> positions);

// How far a sequence is done, and which flips match elsewhere in the last row done.
struct SymbolFlipState {
  ActiveFlip *active[2], *next;
  int32_t num_active[2] = {0, 0};
  uint32_t queries = 0, keys = 0;  // the last ones, as many as the longest grams have
  int32_t row = 0;
  int32_t base = 0, base_length = 0;  // the sequence's best distance and length; 0: no match
};

// Takes changes as a list, handed on in pieces.
struct MatchChangeList {
  MatchChange* buffer;
  int32_t capacity;
  void (*flush)(void* target, const MatchChange* changes, int32_t count);
  void* target;
  int32_t num_bits;
  int32_t count = 0;

  void begin_row(int32_t /*row*/, int32_t /*position*/) {}
  void change(FlippedSymbol symbol, const ActiveFlip& flip, int32_t row, int32_t position) {
    if (count == capacity) finish();
    buffer[count++] = {symbol, static_cast<int8_t>(flip.flip - flip.position * num_bits), flip.position, row, position};
  }
  // Whichever bit of the key is flipped.
  void change_key(int32_t key, int32_t row, int32_t position) {
    for (int32_t bit = 0; bit < num_bits; ++bit) {
      change(FlippedSymbol::key, {key * num_bits + bit, key, row - position}, row, position);
    }
  }
  void finish() {
    flush(target, buffer, count);
    count = 0;
  }
};

// Takes changes as sums of rewards.
struct MatchRewardSums {
  const uint16_t* value;
  int32_t value_bits;
  const float* gradient;
  double* effects[2];
  double* key_effects;   // of a key, whichever of its bits is flipped: to be added to effects[1]
  double tables[4][16];  // of the row: the reward of a value symbol's four bits, from the lowest on
  double base = 0.0;

  double reward(int32_t position) const {
    if (position < 0) return 0.0;
    const int32_t symbol = value[position + 1];
    return (tables[0][symbol & 15] + tables[1][symbol >> 4 & 15]) +
           (tables[2][symbol >> 8 & 15] + tables[3][symbol >> 12]);
  }
  void begin_row(int32_t row, int32_t position) {
    const float* const weights = gradient + static_cast<int64_t>(row) * value_bits;
    for (int32_t first = 0; first < 16; first += 4) {
      double* const table = tables[first / 4];
      table[0] = 0.0;
      for (int32_t bit = 0; bit < 4; ++bit) {
        const double weight = first + bit < value_bits ? static_cast<double>(weights[first + bit]) : 0.0;
        for (int32_t symbol = 0; symbol < 1 << bit; ++symbol) table[symbol + (1 << bit)] = table[symbol] + weight;
      }
    }
    base = reward(position);
  }
  void change(FlippedSymbol symbol, const ActiveFlip& flip, int32_t /*row*/, int32_t position) {
    effects[static_cast<int>(symbol)][flip.flip] += reward(position) - base;
  }
  void change_key(int32_t key, int32_t /*row*/, int32_t position) { key_effects[key] += reward(position) - base; }
};

// The same where the values are flipped with the queries and keys: a match just before the flip reads another value. To
// what its changes sum up to, the effects of the values' flips where rows match without a flip must be added.
struct TiedRewardSums {
  MatchRewardSums sums;
  int32_t row = 0;
  int32_t base_position = -1;

  void begin_row(int32_t new_row, int32_t position) {
    row = new_row;
    base_position = position;
    sums.begin_row(new_row, position);
  }
  // What the flip does to the value read at `position`.
  double read(const ActiveFlip& flip, int32_t position) const {
    if (position < 0 || position + 1 != flip.position) return 0.0;
    const int32_t bit = flip.flip - flip.position * sums.value_bits;
    const auto weight = static_cast<double>(sums.gradient[static_cast<int64_t>(row) * sums.value_bits + bit]);
    return (sums.value[flip.position] >> bit & 1) != 0 ? -weight : weight;
  }
  void change(FlippedSymbol symbol, const ActiveFlip& flip, int32_t /*row*/, int32_t position) {
    sums.change(symbol, flip, row, position);
    sums.effects[0][flip.flip] += read(flip, position) - read(flip, base_position);
  }
};

}  // namespace rosa::kernels
