// WeightState: named weights as a part of a checkpoint, under their full names.
#pragma once

#include "base/stateful.h"
#include "training/optimizer.h"

namespace rosa::training {

class WeightState : public base::Stateful {
 public:
  // The tensors are those of the model: load_state writes into them.
  explicit WeightState(NamedTensors tensors) : tensors_(std::move(tensors)) {}

  base::StateDict save_state() const override;
  void load_state(const base::StateDict& state) override;

 private:
  NamedTensors tensors_;
};

}  // namespace rosa::training
