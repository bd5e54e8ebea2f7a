#include "training/weight_state.h"

#include "base/error.h"
#include "rosa/operator/tensor_bytes.h"

namespace rosa::training {

base::StateDict WeightState::save_state() const {
  base::StateDict state;
  for (const auto& [name, tensor] : tensors_) state.tensors[name] = to_state(tensor.detach());
  return state;
}

void WeightState::load_state(const base::StateDict& state) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : tensors_) {
    const auto found = state.tensors.find(name);
    base::require<base::CheckpointError>(found != state.tensors.end(), "the checkpoint holds no weights '", name,
                                         "'; was it written with other adapter settings?");
    const at::Tensor value = from_state(found->second);
    base::require<base::CheckpointError>(value.sizes() == tensor.sizes(), "the checkpoint's '", name, "' has shape ",
                                         value.sizes(), ", this run's has ", tensor.sizes());
    tensor.copy_(value);
  }
}

}  // namespace rosa::training
