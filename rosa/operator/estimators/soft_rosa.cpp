// Soft ROSA as the differentiable stand-in (proxies.h).
#include "rosa/operator/estimators/proxy_estimator.h"

namespace rosa {
namespace {

class SoftRosaEstimator final : public ProxyEstimator {
 public:
  SoftRosaEstimator() : ProxyEstimator(Proxy::soft_rosa) {}

  const char* name() const override { return "soft_rosa"; }
  const char* summary() const override { return "runs of soft agreements, a proxy"; }
};

}  // namespace

const QkvEstimator& soft_rosa_estimator() {
  static const SoftRosaEstimator estimator;
  return estimator;
}

}  // namespace rosa
