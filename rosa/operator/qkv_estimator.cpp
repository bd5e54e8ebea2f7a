#include "rosa/operator/qkv_estimator.h"

#include "base/error.h"

namespace rosa {

using base::concat;

// The list: a new estimator is a file in estimators/ with such a function, and a name here.
#define ROSA_QKV_ESTIMATORS(ENTRY) \
  ENTRY(sufa)                      \
  ENTRY(soft_rosa)                 \
  ENTRY(dense_surrogate)           \
  ENTRY(bit_flip)                  \
  ENTRY(tied_flip)                 \
  ENTRY(local_counterfactual)      \
  ENTRY(none)

#define ROSA_DECLARE(name) const QkvEstimator& name##_estimator();
ROSA_QKV_ESTIMATORS(ROSA_DECLARE)
#undef ROSA_DECLARE

const std::vector<const QkvEstimator*>& qkv_estimators() {
#define ROSA_POINTER(name) &name##_estimator(),
  static const std::vector<const QkvEstimator*> estimators{ROSA_QKV_ESTIMATORS(ROSA_POINTER)};
#undef ROSA_POINTER
  return estimators;
}

const QkvEstimator& default_estimator() { return sufa_estimator(); }

std::vector<std::string> qkv_estimator_names() {
  std::vector<std::string> names;
  for (const QkvEstimator* estimator : qkv_estimators()) names.emplace_back(estimator->name());
  return names;
}

const QkvEstimator& find_qkv_estimator(const std::string& name) {
  std::string known;
  for (const QkvEstimator* estimator : qkv_estimators()) {
    if (estimator->name() == name) return *estimator;
    known += concat(known.empty() ? "" : ", ", estimator->name());
  }
  throw base::ConfigError(concat("there is no estimator '", name, "'; known are ", known));
}

std::string QkvEstimator::refusal(int64_t query_bits, int64_t value_bits, const OperatorOptions& options) const {
  if (options.alpha < 1 && !has_soft_output()) {
    return concat("estimator ", name(), " has no soft output to blend in, but alpha is ", options.alpha,
                  "; keep alpha at 1, or take sufa or soft_rosa");
  }
  if (options.proxy_kernel == ProxyKernel::sdpa && !is_attention()) {
    return concat("proxy_kernel is sdpa, but estimator ", name(),
                  " is no attention; take proxy_kernel fused or composed, or estimator sufa");
  }
  return own_refusal(query_bits, value_bits, options);
}

at::Tensor QkvEstimator::soft_output(const OperatorInput&, const OperatorOptions&) const {
  throw base::ArgumentError(concat("estimator ", name(), " has no soft output"));
}

at::Tensor collect_by_retrieved_row(const at::Tensor& value, const at::Tensor& positions,
                                    const at::Tensor& grad_output) {
  const int64_t batch = value.size(0), kv_heads = value.size(1), length = value.size(2), num_bits = value.size(3);
  const int64_t share = positions.size(1) / kv_heads;
  // Row 0 collects what has no match: no match retrieves row 0, since i* + 1 >= 1.
  const at::Tensor row = positions.to(at::kLong) + 1;
  const at::Tensor index =
      row.reshape({batch, kv_heads, share * length, 1}).expand({batch, kv_heads, share * length, num_bits});
  const at::Tensor upstream = grad_output.reshape({batch, kv_heads, share * length, num_bits});
  at::Tensor collected = at::zeros(value.sizes(), upstream.options()).scatter_add_(2, index, upstream);
  collected.select(2, 0).zero_();
  return collected;
}

}  // namespace rosa
