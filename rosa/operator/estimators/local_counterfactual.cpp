// One step of what-if at the start of each run of equal queries (rosa/kernels/local_counterfactual.h), a cheap and
// biased baseline for the exact flips.
#include "rosa/kernels/local_counterfactual.h"

#include <memory>
#include <vector>

#include "rosa/operator/estimators/flip_estimator.h"

namespace rosa {
namespace {

class LocalCounterfactualEstimator final : public FlipEstimator {
 public:
  const char* name() const override { return "local_counterfactual"; }
  const char* summary() const override { return "one step of what-if a run of equal queries"; }

  HeadEffects make_head_effects() const override {
    struct Workspace {
      kernels::LocalCounterfactual kernel;
      std::vector<double> value_effects;  // left: values are scattered for all heads at once
    };
    return [workspace = std::make_shared<Workspace>()](std::span<const uint16_t> query, std::span<const uint16_t> key,
                                                       int64_t num_bits, const kernels::SymbolFlips::Rewards& rewards,
                                                       std::span<int32_t> positions, std::span<double> query_effects,
                                                       std::span<double> key_effects) {
      workspace->value_effects.resize(rewards.gradient.size());
      workspace->kernel.effects(query, key, num_bits, rewards, positions, query_effects, key_effects,
                                workspace->value_effects);
    };
  }
};

}  // namespace

const QkvEstimator& local_counterfactual_estimator() {
  static const LocalCounterfactualEstimator estimator;
  return estimator;
}

}  // namespace rosa
