// none: no gradient for the logits, the control of every comparison.
#include "rosa/estimators/gate_estimator.h"

namespace rosa {
namespace {

class NoneEstimator final : public GateEstimator {
 public:
  double evaluations() const override { return 0; }
  at::Tensor gradient(const GateCall& call, HostExecutor& /*executor*/) override { return at::zeros_like(call.x); }
};

}  // namespace

std::unique_ptr<GateEstimator> make_gate_none(const GateEstimatorConfig& /*config*/) {
  return std::make_unique<NoneEstimator>();
}

}  // namespace rosa
