#include "training/weight_state.h"

#include <vector>

#include "rosa/operator/tensor_bytes.h"
#include "training/state_tensors.h"

namespace rosa::training {

base::StateDict WeightState::save_state() const {
  base::StateDict state;
  for (const auto& [name, tensor] : tensors_) state.tensors[name] = to_state(tensor.detach());
  return state;
}

void WeightState::load_state(const base::StateDict& state) {
  const at::NoGradGuard no_grad;
  std::vector<ExpectedTensor> expected;
  for (const auto& [name, tensor] : tensors_) expected.push_back({name, tensor.sizes().vec()});
  compare_tensors(state, expected, on_difference_);
  for (auto& [name, tensor] : tensors_) {
    const auto found = state.tensors.find(name);
    if (found != state.tensors.end()) tensor.copy_(from_state(found->second));
  }
}

}  // namespace rosa::training
