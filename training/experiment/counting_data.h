// FastRosa's toy data: consecutive numbers, written digit by digit with a separator before each.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

#include "training/data/data_source.h"

namespace rosa::training {

// Digits are their own ids; 10 stands before each number.
inline constexpr int64_t kCountingVocabulary = 11;
inline constexpr int64_t kCountingSeparator = 10;

// Samples [first_sample, first_sample + num_samples) of a step: int64 [num_samples, length]. Each draws its number of
// digits k in 1 ... 3, then its first number uniformly in [10^(k-1) (0 for k = 1), 10^k - 1].
at::Tensor counting_sequences(uint64_t seed, DataSplit split, int64_t step, int64_t first_sample, int64_t num_samples,
                              int64_t length);

// As characters: digits, and ',' for the separator; ids below 0 (nothing retrieved) as '.'. tokens: int64 [T].
std::string counting_text(const at::Tensor& tokens);

}  // namespace rosa::training
