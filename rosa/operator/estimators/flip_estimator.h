// What the estimators by flips of single bits share. A kernel gives the effect of flipping each query and key bit of
// one head; the gradients of the logits come from these. A key serves every query head of its group, so the effect of
// its flip is the sum over these heads. A value's flip changes what the rows that retrieve it read. Each document is
// handled alone. The work runs on ATen's threads, whose number changes no bit; tensors on a GPU are copied to the host.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "rosa/kernels/symbol_flips.h"
#include "rosa/operator/qkv_estimator.h"

namespace rosa {

class FlipEstimator : public QkvEstimator {
 public:
  // As kernels::SymbolFlips::effects, with a workspace of its own.
  using HeadEffects =
      std::function<void(std::span<const uint16_t> query, std::span<const uint16_t> key, int64_t num_bits,
                         const kernels::SymbolFlips::Rewards& rewards, std::span<int32_t> positions,
                         std::span<double> query_effects, std::span<double> key_effects)>;

  // One for each thread.
  virtual HeadEffects make_head_effects() const = 0;

  bool needs_positions() const final { return true; }
  int64_t max_length() const final { return kernels::kMaxFlipLength; }
  void check_input(const OperatorInput& input) const override;
  std::array<at::Tensor, 3> gradients(const GradientCall& call) const final;

 private:
  std::string own_refusal(int64_t query_bits, int64_t value_bits, const OperatorOptions& options) const final;
};

}  // namespace rosa
