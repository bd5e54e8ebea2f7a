// QkvEstimator: how the gradient of a loss passes the hard operator to its query, key and value logits. The operator
// (rosa_operator.h) calls the estimator that its options point to; estimators/ holds one file each, and their list is
// in qkv_estimator.cpp. They are immutable and shared by all calls. Not the estimators of the 1-bit gate.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "rosa/operator/rosa_operator.h"

namespace rosa {

// What a backward hands to the estimator; nothing here is in a graph.
struct GradientCall {
  const OperatorInput& input;
  const OperatorOptions& options;
  at::Tensor positions;    // int32 [B,H,T] where the estimator needs_positions(): i* of each row, -1 for none
  at::Tensor grad_output;  // of OperatorOutput::bits, [B,H,T,M]
  std::array<bool, 3> needed{true, true, true};  // query, key, value
};

class QkvEstimator {
 public:
  virtual ~QkvEstimator() = default;

  // Its name in configurations.
  virtual const char* name() const = 0;
  // What it is, as configurations explain it: a few words.
  virtual const char* summary() const = 0;

  // Of the forward: whether it has a soft output, which training with alpha < 1 blends in; whether its backward wants
  // the positions of the matches.
  virtual bool has_soft_output() const { return false; }
  virtual bool needs_positions() const { return false; }
  // Whether its gradients are anything but 0.
  virtual bool has_gradient() const { return true; }
  // Whether ProxyKernel::sdpa can compute it.
  virtual bool is_attention() const { return false; }

  // Whether it takes only queries and keys whose bits are equal, head by head.
  virtual bool needs_equal_codes() const { return false; }

  // Positions of the longest document that it takes.
  virtual int64_t max_length() const { return std::numeric_limits<int64_t>::max(); }

  // How many evaluations of the hard operator the gradient stands for, besides the forward, however they are computed.
  // 0: the gradient comes from something else.
  virtual int64_t num_evaluations(const OperatorInput&) const { return 0; }

  // Why it can't serve a training call with these options and sizes, and what to do; empty where it can.
  std::string refusal(int64_t query_bits, int64_t value_bits, const OperatorOptions& options) const;
  // Throws ArgumentError where it can't serve this input for what the sizes of a symbol do not tell, ConfigError where
  // it needs_equal_codes() and they are not.
  virtual void check_input(const OperatorInput&) const {}

  // [B,H,T,M]; only where has_soft_output().
  virtual at::Tensor soft_output(const OperatorInput& input, const OperatorOptions& options) const;

  // The gradients of the logits of query, key and value, in their shapes and dtypes; undefined where not needed.
  virtual std::array<at::Tensor, 3> gradients(const GradientCall& call) const = 0;

 protected:
  // refusal() for what is this estimator's own.
  virtual std::string own_refusal(int64_t /*query_bits*/, int64_t /*value_bits*/, const OperatorOptions&) const {
    return {};
  }
};

// All of them, in the order of the documentation.
const std::vector<const QkvEstimator*>& qkv_estimators();
std::vector<std::string> qkv_estimator_names();
// Throws ConfigError for an unknown name.
const QkvEstimator& find_qkv_estimator(const std::string& name);

// What several estimators share.
// [B,G,T,M]: the sum of grad_output over the rows that retrieved each value row, that is the rows t with
// positions[t] + 1 = row.
at::Tensor collect_by_retrieved_row(const at::Tensor& value, const at::Tensor& positions,
                                    const at::Tensor& grad_output);

}  // namespace rosa
