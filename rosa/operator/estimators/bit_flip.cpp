// Exact single flips: the credit of a bit is < grad_output, F(bit flipped) - F >, of every bit of every query, key and
// value, by rosa/kernels/symbol_flips.h.
#include <memory>

#include "rosa/operator/estimators/flip_estimator.h"

namespace rosa {
namespace {

class BitFlipEstimator final : public FlipEstimator {
 public:
  const char* name() const override { return "bit_flip"; }
  const char* summary() const override { return "the exact effect of flipping each bit alone"; }

  // One a flipped bit of a query or a key; those of values read the forward's own matches.
  int64_t num_evaluations(const OperatorInput& input) const override {
    return 2 * input.query.size(2) * input.query.size(3);
  }

  HeadEffects make_head_effects() const override {
    return [flips = std::make_shared<kernels::SymbolFlips>()](auto... arguments) { flips->effects(arguments...); };
  }
};

}  // namespace

const QkvEstimator& bit_flip_estimator() {
  static const BitFlipEstimator estimator;
  return estimator;
}

}  // namespace rosa
