// Headroom: before any training, the most that retrieval could bring a windowed model. A copier retrieves by longest
// matches and hands on the token that followed; its word is mixed into the windowed model with a weight for each match
// length. The weights are fitted on one half of the sequences and scored on the other.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "training/config.h"
#include "training/evaluation.h"
#include "training/suite/bootstrap.h"

namespace rosa::training {

// One token as a copier sees it.
struct CopiedToken {
  double probability = 0.0;  // of the token, by the windowed model
  int32_t match_length = 0;  // of the tokens before it; 0: nothing to copy
  bool is_right = false;     // the copy is the token
};

// A copier's weight in the mixture, by the length of its match: 0, 1, 2, 3-4, 5-8, 9-16, 17-32, 33 and more.
class MixtureWeights {
 public:
  static constexpr size_t kNumLengths = 8;

  // The weights with the highest likelihood, by expectation maximisation. Without tokens of a length its weight is 0.
  static MixtureWeights fitted(std::span<const CopiedToken> tokens);

  // -log((1 - w) p + w [the copy is right]), nats.
  double cross_entropy(const CopiedToken& token) const;
  const std::array<double, kNumLengths>& values() const { return values_; }

 private:
  std::array<double, kNumLengths> values_{};
};

struct HeadroomConfig {
  int64_t num_sequences = 64;  // at most; half of them are fitted on
  int64_t hash_bits = 8;       // of a head's symbol: signs of random projections of a layer's input
  int64_t hash_heads = 4;      // the longest match of them counts
  uint64_t seed = 0;
};

// What one copier would close of the gap between window and teacher.
struct CopierHeadroom {
  std::string name;  // "tokens", "layer 3"
  double ce = 0.0;
  std::optional<double> closed = {};  // nothing where the gap is not clear
  std::optional<Interval> interval = {};
  double matched_share = 0.0, right_share = 0.0;  // of the tokens with a match, and of these those it is right about
};

struct Headroom {
  double teacher_ce = 0.0, window_ce = 0.0;  // on the second half
  int64_t num_tokens = 0, num_sequences = 0;
  std::vector<CopierHeadroom> copiers;  // of tokens, then of each layer's input
};

// Told after each sequence.
using HeadroomProgress = std::function<void(int64_t done, int64_t total)>;

// The variants "teacher" and "window" of a run on its held-out data; no adapters are needed. Throws DataError where the
// data makes fewer than two sequences, or nothing in them can be scored.
Headroom measure_headroom(const HeadroomConfig& config, const RunConfig& run, const RunParts& parts,
                          const HeadroomProgress& progress = {});

std::string headroom_table(const Headroom& headroom);
nlohmann::ordered_json headroom_json(const Headroom& headroom);

}  // namespace rosa::training
