// PlainState: a state that is nothing but its dictionary, and tensors for it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/stateful.h"

namespace rosa::testing {

inline base::StateTensor tensor_of(std::vector<float> numbers) {
  base::StateTensor tensor{"F32", {static_cast<int64_t>(numbers.size())}, {}};
  const auto bytes = std::as_bytes(std::span(numbers));
  tensor.bytes.assign(bytes.begin(), bytes.end());
  return tensor;
}

class PlainState : public base::Stateful {
 public:
  base::StateDict save_state() const override { return dict; }
  void load_state(const base::StateDict& state) override {
    for (const auto& [name, tensor] : dict.tensors) {
      base::require<base::CheckpointError>(state.tensors.count(name) != 0, "tensor '", name, "' is missing");
    }
    dict = state;
  }
  base::StateDict dict;
};

}  // namespace rosa::testing
