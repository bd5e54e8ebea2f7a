#include "models/uniform_start.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace rosa::models {

at::Tensor uniform_start(at::IntArrayRef shape, int64_t num_inputs, const base::RandomKey& key) {
  constexpr int64_t kGrain = 1 << 16;
  at::Tensor result = at::empty(shape, at::kFloat);
  const double bound = 1 / std::sqrt(static_cast<double>(num_inputs));
  float* const values = result.mutable_data_ptr<float>();
  at::parallel_for(0, result.numel(), kGrain, [&](int64_t begin, int64_t end) {
    std::array<double, 1024> uniforms;
    for (int64_t at = begin; at < end; at += std::ssize(uniforms)) {
      const auto count = static_cast<size_t>(std::min(end - at, std::ssize(uniforms)));
      base::RandomKey first = key;
      first.position += static_cast<uint64_t>(at);
      base::random_stream_uniforms(first, std::span(uniforms).first(count));
      for (size_t i = 0; i < count; ++i) {
        values[static_cast<size_t>(at) + i] = static_cast<float>(bound * (2 * uniforms[i] - 1));
      }
    }
  });
  return result;
}

}  // namespace rosa::models
