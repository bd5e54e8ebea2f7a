// What flips of single bits do to ROSA over symbols of several bits, for one sequence and head. One bit is flipped: of
// a query, of a key, or of both where they are one sequence. The result says where every row then matches, for all such
// flips, exactly. Values are not compared, so their flips need no search. Owns no gradients: estimators turn rewards
// into those.
//
// Rows, matches and positions are those of rosa/automaton/match.h. A query's flip can change its own row and later
// ones, a key's flip later rows only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace rosa::kernels {

// Which symbol's bit is flipped.
enum class FlippedSymbol : uint8_t { query, key };

// Row `row` matches at `position` (-1: nowhere) once the bit is flipped, which is not where it matches without.
struct MatchChange {
  FlippedSymbol symbol = FlippedSymbol::query;
  int8_t bit = 0;
  int32_t flip = 0;  // position of the flipped symbol
  int32_t row = 0;
  int32_t position = 0;

  bool operator==(const MatchChange&) const = default;
};

// Limits of lengths and distances, and of symbols, which are kept in 16 bits.
inline constexpr int64_t kMaxFlipLength = 65535;
inline constexpr int64_t kMaxFlipBits = 16;

// One per thread: the workspace is reused. Memory is linear in length x bits; time is quadratic in the length: some
// passes over the distances of each row, 64 in a vector, and where rows match far back a few operations for each key
// under the match. Tied flips take a few operations for each row and distance, whatever the symbols.
class SymbolFlips {
 public:
  // Writes the positions without a flip and returns every change, by row. The result lives until the next call.
  // Symbols have `num_bits` bits. Throws ArgumentError for larger symbols, sizes that differ or exceed the limits.
  std::span<const MatchChange> changes(std::span<const uint16_t> query, std::span<const uint16_t> key, int64_t num_bits,
                                       std::span<int32_t> positions);

  // The same as sums: effects[p * num_bits + b] = sum over rows of reward(row, position with the flip) - reward(row,
  // position); equal arguments give equal bits. The reward of row r at position i is that of reading value symbol i +
  // 1: the sum over value bits m of gradient[r * value_bits + m] where the bit is set; 0 at position -1.
  struct Rewards {
    std::span<const uint16_t> value;  // symbols, one a row
    int64_t value_bits = 0;
    std::span<const float> gradient;  // [length, value_bits]
  };
  void effects(std::span<const uint16_t> query, std::span<const uint16_t> key, int64_t num_bits, const Rewards& rewards,
               std::span<int32_t> positions, std::span<double> query_effects, std::span<double> key_effects);

  // What flips of value bits do: effects[j * value_bits + m] = sum over the rows whose match, positions[row], reads
  // value symbol j, of gradient[row * value_bits + m] x (the bit flipped - the bit), in ascending order of rows.
  static void value_effects(const Rewards& rewards, std::span<const int32_t> positions, std::span<double> effects);

  // Query and key are one sequence, whose bits are flipped in both at once: effects as those of effects().
  void tied_effects(std::span<const uint16_t> symbols, int64_t num_bits, const Rewards& rewards,
                    std::span<int32_t> positions, std::span<double> effects);
  // The value symbols are that sequence, too: gradient is [length, num_bits].
  void tied_effects(std::span<const uint16_t> symbols, int64_t num_bits, std::span<const float> gradient,
                    std::span<int32_t> positions, std::span<double> effects);

 private:
  std::vector<std::byte> workspace_;
  std::vector<MatchChange> changes_;
  std::vector<double> shared_effects_;
};

}  // namespace rosa::kernels
