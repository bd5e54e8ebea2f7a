// Exact flips of a query's and a key's bit of one position at once, by the tied flips of rosa/kernels/symbol_flips.h.
// Queries and keys are one sequence of symbols: they start equal and get equal gradients, each half of the effect, so
// that trained alike they stay equal. Values are as in bit_flip.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "rosa/operator/estimators/flip_estimator.h"
#include "rosa/operator/symbols.h"

namespace rosa {
namespace {

class TiedFlipEstimator final : public FlipEstimator {
 public:
  const char* name() const override { return "tied_flip"; }
  const char* summary() const override {
    return "the exact effect of flipping a bit of query and key at once, where both are equal";
  }
  bool needs_equal_codes() const override { return true; }

  // One a flipped bit.
  int64_t num_evaluations(const OperatorInput& input) const override {
    return input.query.size(2) * input.query.size(3);
  }

  void check_input(const OperatorInput& input) const override {
    FlipEstimator::check_input(input);
    const bool are_equal =
        input.query.size(1) == input.key.size(1) && pack_symbols(input.query).equal(pack_symbols(input.key));
    base::require<base::ConfigError>(
        are_equal,
        "estimator tied_flip: queries and keys are not equal bit by bit; they must have as many heads, start equal "
        "(adapter.tie_start) and be trained alike (train.trainable, optimizer.groups)");
  }

  HeadEffects make_head_effects() const override {
    return [flips = std::make_shared<kernels::SymbolFlips>()](
               std::span<const uint16_t> query, std::span<const uint16_t>, int64_t num_bits,
               const kernels::SymbolFlips::Rewards& rewards, std::span<int32_t> positions,
               std::span<double> query_effects, std::span<double> key_effects) {
      flips->tied_effects(query, num_bits, rewards, positions, query_effects);
      for (double& effect : query_effects) effect /= 2;
      std::copy(query_effects.begin(), query_effects.end(), key_effects.begin());
    };
  }
};

}  // namespace

const QkvEstimator& tied_flip_estimator() {
  static const TiedFlipEstimator estimator;
  return estimator;
}

}  // namespace rosa
