// LowRank: low-rank adaptation (LoRA, Hu et al. 2021, arXiv 2106.09685) of linear projections of a base model. The
// projection's weight W [outputs, inputs] stays as it is; the student computes
//
//     y = W x + alpha / rank * B (A x)        A [rank, inputs], B [outputs, rank]
//
// A starts uniform in +-1/sqrt(inputs), B at 0, so that the student starts as it was.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/model_config.h"

namespace rosa::models {

// Whether a weight of a base model, "model.layers.0.self_attn.q_proj.weight", is a linear projection of a layer.
bool is_projection(const std::string& weight);

// Names and shapes of A and B for these weights, "model.layers.0.self_attn.q_proj.lora_A". Throws ArgumentError for a
// weight that is no projection of the model.
std::map<std::string, std::vector<int64_t>> low_rank_shapes(const ModelConfig& model,
                                                            const std::vector<std::string>& weights, int64_t rank);

class LowRank {
 public:
  // Fresh pairs in float32, each a pure function of the seed and its weight's name. Throws as low_rank_shapes().
  LowRank(const ModelConfig& model, const std::vector<std::string>& weights, int64_t rank, double alpha, uint64_t seed);

  // In the set's parameters().
  struct Pair {
    const at::Tensor *a, *b;
  };
  // Nothing where the projection has none.
  std::optional<Pair> pair(int64_t layer, Projection projection) const;

  int64_t rank() const { return rank_; }
  double alpha() const { return alpha_; }
  double scale() const { return alpha_ / static_cast<double>(rank_); }

  // The weight with its pair added to it, float32 on the CPU; as it is where it has none.
  at::Tensor merged(const std::string& name, const at::Tensor& weight) const;

  // By name. Replace or move them, but keep the shapes.
  std::map<std::string, at::Tensor>& parameters() { return parameters_; }
  const std::map<std::string, at::Tensor>& parameters() const { return parameters_; }
  // Those of one layer.
  std::vector<at::Tensor> layer_parameters(int64_t layer) const;

 private:
  std::optional<Pair> pair_of(const std::string& projection) const;

  int64_t rank_;
  double alpha_;
  std::map<std::string, at::Tensor> parameters_;
};

}  // namespace rosa::models
