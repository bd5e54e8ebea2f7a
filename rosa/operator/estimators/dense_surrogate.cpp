// The dense surrogate (proxies.h): the gradient of a soft route over all earlier positions. What it would output is not
// meant to stand for the operator's output.
#include "rosa/operator/estimators/proxy_estimator.h"

namespace rosa {
namespace {

class DenseSurrogateEstimator final : public ProxyEstimator {
 public:
  DenseSurrogateEstimator() : ProxyEstimator(Proxy::dense_surrogate) {}

  const char* name() const override { return "dense_surrogate"; }
  const char* summary() const override { return "a soft choice among all routes, in the backward only"; }
  bool has_soft_output() const override { return false; }
  at::Tensor soft_output(const OperatorInput& input, const OperatorOptions& options) const override {
    return QkvEstimator::soft_output(input, options);
  }
};

}  // namespace

const QkvEstimator& dense_surrogate_estimator() {
  static const DenseSurrogateEstimator estimator;
  return estimator;
}

}  // namespace rosa
