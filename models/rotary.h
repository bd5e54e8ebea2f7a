// Rotary position embedding (Su et al. 2021, arXiv 2104.09864), and the ways in which models stretch it to longer
// texts: the angles by which the pairs of a head turn, as Hugging Face transformers computes them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>

namespace rosa::models {

enum class RopeType {
  plain,    // "default": theta^(-2i/d)
  linear,   // every frequency divided by the factor (position interpolation, arXiv 2306.15595)
  dynamic,  // theta grows with the length beyond max_position_embeddings (NTK-aware)
  yarn,     // arXiv 2309.00071
  llama3,   // long wavelengths are divided by the factor, short ones stay (Llama 3.1)
};

// `rope_scaling` or `rope_parameters` of a config.json. What a type does not use stands at its start.
struct RopeScaling {
  RopeType type = RopeType::plain;
  double factor = 1.0;
  int64_t original_max_position_embeddings = 0;  // yarn, llama3: positions before the stretching
  double low_freq_factor = 1.0;                  // llama3
  double high_freq_factor = 4.0;
  double beta_fast = 32.0;  // yarn: turns over the original length above which a frequency stays
  double beta_slow = 1.0;   // and below which it is divided by the factor
  bool truncate = true;     // yarn: whole numbers for the pairs between which it changes
  // yarn, of what cosine and sine are multiplied by: the factor itself, or what it is computed from.
  std::optional<double> attention_factor = std::nullopt, mscale = std::nullopt, mscale_all_dim = std::nullopt;

  bool operator==(const RopeScaling&) const = default;
};

// What a rotation depends on.
struct Rotary {
  int64_t head_dim = 0;  // even
  double theta = 10000;
  int64_t max_position_embeddings = 0;
  RopeScaling scaling;

  // Radians a position for each pair, float32 [head_dim/2] on the CPU, in a text of `length` tokens. Only the dynamic
  // type looks at the length.
  at::Tensor frequencies(int64_t length) const;

  // What cosine and sine are multiplied by.
  double cos_sin_scale() const;

  // Whether frequencies(length) are those of every shorter text, too.
  bool is_fixed_up_to(int64_t length) const {
    return scaling.type != RopeType::dynamic || length <= max_position_embeddings;
  }
};

}  // namespace rosa::models
