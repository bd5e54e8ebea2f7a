#include "models/gate_statistics.h"

namespace rosa::models {

void GateCounts::add(const at::Tensor& gates) {
  const at::NoGradGuard no_gradient;
  num += gates.numel();
  num_closed += gates.lt(kClosedGate).sum().item<int64_t>();
  sum += gates.mul(65536.0).round().to(at::kLong).sum().item<int64_t>();
}

}  // namespace rosa::models
