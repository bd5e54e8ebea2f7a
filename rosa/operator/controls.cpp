#include "rosa/operator/controls.h"

#include <cstdint>
#include <utility>

#include "rosa/operator/document_runs.h"

namespace rosa {
namespace {

constexpr uint64_t kShuffleSeed = 0x5eed0f505aULL;

// One step of SplitMix64: enough to permute evenly, and the same everywhere.
uint64_t next_random(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

void shuffle_values(MatchRequest& request) {
  const int64_t batch = request.value_symbols.size(0), length = request.value_symbols.size(2);
  at::Tensor order = at::empty({batch, 1, length}, at::kLong);
  int64_t* positions = order.mutable_data_ptr<int64_t>();
  for (int64_t row = 0; row < batch; ++row, positions += length) {
    uint64_t state = kShuffleSeed;
    for (int64_t t = 0; t < length; ++t) positions[t] = t;
    for (const auto& [begin, end] : document_runs(request.documents, row, length)) {
      for (int64_t t = end - 1; t > begin; --t) {
        const auto other = begin + static_cast<int64_t>(next_random(state) % static_cast<uint64_t>(t - begin + 1));
        std::swap(positions[t], positions[other]);
      }
    }
  }
  const at::Tensor index = order.to(request.value_symbols.device()).expand_as(request.value_symbols);
  request.value_symbols = request.value_symbols.gather(2, index);
}

void limit_to_window(int64_t window, MatchRequest& request) {
  const int64_t length = request.query_symbols.size(2);
  const at::Tensor near =
      at::ones({1, 1, length, length}, at::TensorOptions(at::kBool).device(request.query_symbols.device()))
          .triu(1 - window);
  request.mask = request.mask.defined() ? request.mask.logical_and(near) : near;
}

}  // namespace

void apply_control(const OperatorOptions& options, MatchRequest& request) {
  if (options.control == OperatorControl::shuffled) shuffle_values(request);
  if (options.control == OperatorControl::windowed) limit_to_window(options.sliding_window, request);
}

}  // namespace rosa
