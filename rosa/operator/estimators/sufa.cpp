// Suffix attention as the differentiable stand-in (proxies.h).
#include "base/error.h"
#include "rosa/operator/estimators/proxy_estimator.h"

namespace rosa {
namespace {

class SufaEstimator final : public ProxyEstimator {
 public:
  SufaEstimator() : ProxyEstimator(Proxy::sufa) {}

  const char* name() const override { return "sufa"; }
  const char* summary() const override { return "suffix attention, a proxy"; }
  bool is_attention() const override { return true; }

 private:
  std::string own_refusal(int64_t query_bits, int64_t, const OperatorOptions& options) const override {
    if (options.sufa_head_dim > 0 && options.sufa_head_dim % query_bits == 0) return {};
    return base::concat("sufa_head_dim is ", options.sufa_head_dim,
                        "; estimator sufa takes a multiple of the query bits, which are ", query_bits);
  }
};

}  // namespace

const QkvEstimator& sufa_estimator() {
  static const SufaEstimator estimator;
  return estimator;
}

}  // namespace rosa
