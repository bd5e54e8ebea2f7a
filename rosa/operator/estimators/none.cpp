// The control: queries, keys and values learn nothing.
#include "rosa/operator/qkv_estimator.h"

namespace rosa {
namespace {

class NoEstimator final : public QkvEstimator {
 public:
  const char* name() const override { return "none"; }
  const char* summary() const override { return "no gradient at all, as a control"; }
  bool has_gradient() const override { return false; }

  std::array<at::Tensor, 3> gradients(const GradientCall& call) const override {
    const at::Tensor* const logits[] = {&call.input.query, &call.input.key, &call.input.value};
    std::array<at::Tensor, 3> result;
    for (size_t i = 0; i < 3; ++i) {
      if (call.needed[i]) result[i] = at::zeros_like(*logits[i]);
    }
    return result;
  }
};

}  // namespace

const QkvEstimator& none_estimator() {
  static const NoEstimator estimator;
  return estimator;
}

}  // namespace rosa
