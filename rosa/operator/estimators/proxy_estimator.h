// What the estimators by a proxy (proxies.h) share: soft output and gradients are the proxy's.
#pragma once

#include "rosa/operator/proxies.h"
#include "rosa/operator/qkv_estimator.h"

namespace rosa {

class ProxyEstimator : public QkvEstimator {
 public:
  explicit ProxyEstimator(Proxy proxy) : proxy_(proxy) {}

  bool has_soft_output() const override { return true; }

  at::Tensor soft_output(const OperatorInput& input, const OperatorOptions& options) const override {
    return proxy_forward(proxy_, input, options);
  }

  std::array<at::Tensor, 3> gradients(const GradientCall& call) const override {
    return proxy_backward(proxy_, call.input, call.options, call.grad_output, call.needed);
  }

 private:
  Proxy proxy_;
};

}  // namespace rosa
