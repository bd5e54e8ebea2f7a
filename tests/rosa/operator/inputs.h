// Inputs of the operator's tests.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "rosa/operator/rosa_operator.h"

namespace rosa::testing {

struct Sizes {
  int64_t batch = 2, heads = 4, kv_heads = 2, length = 37, query_bits = 4, value_bits = 3;
};

// Logits of one kind: random, constant, zero, periodic, nan (random with NaN and zeros).
inline at::Tensor make_logits(const std::string& kind, at::IntArrayRef sizes, at::ScalarType dtype) {
  at::Tensor logits = at::randn(sizes, dtype);
  if (kind == "constant") return at::ones(sizes, dtype) * 0.6;
  if (kind == "zero") return at::zeros(sizes, dtype);
  if (kind == "periodic") {
    const at::Tensor position = at::arange(sizes[2]).remainder(5);
    return logits.index_select(2, at::minimum(position, at::scalar_tensor(sizes[2] - 1, at::kLong))).contiguous();
  }
  if (kind == "nan") {
    logits.masked_fill_(at::rand(sizes) < 0.1, std::numeric_limits<double>::quiet_NaN());
    logits.masked_fill_(at::rand(sizes) < 0.1, 0);
  }
  return logits;
}

// With `tied`, keys equal the queries of each group's first head, so that long matches exist.
inline OperatorInput make_input(const std::string& kind, const Sizes& sizes, at::ScalarType dtype = at::kFloat,
                                bool tied = false) {
  OperatorInput input{make_logits(kind, {sizes.batch, sizes.heads, sizes.length, sizes.query_bits}, dtype),
                      make_logits(kind, {sizes.batch, sizes.kv_heads, sizes.length, sizes.query_bits}, dtype),
                      make_logits("random", {sizes.batch, sizes.kv_heads, sizes.length, sizes.value_bits}, dtype),
                      {},
                      {}};
  if (tied) {
    const auto grouped = input.query.reshape(
        {sizes.batch, sizes.kv_heads, sizes.heads / sizes.kv_heads, sizes.length, sizes.query_bits});
    input.key = grouped.select(2, 0).contiguous();
  }
  return input;
}

// Document numbers [batch, length] with the given lengths in every row (their sum is the length).
inline at::Tensor documents_of(int64_t batch, const std::vector<int64_t>& lengths) {
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < lengths.size(); ++i) numbers.insert(numbers.end(), lengths[i], static_cast<int64_t>(3 * i));
  return at::tensor(numbers).unsqueeze(0).repeat({batch, 1});
}

// Positions [begin, begin + length) of an input, without document numbers.
inline OperatorInput slice(const OperatorInput& input, int64_t begin, int64_t length) {
  return {input.query.narrow(2, begin, length),
          input.key.narrow(2, begin, length),
          input.value.narrow(2, begin, length),
          input.mask.defined() ? input.mask.narrow(2, begin, length).narrow(3, begin, length) : at::Tensor(),
          {}};
}

}  // namespace rosa::testing
