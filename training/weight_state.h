// WeightState: named weights as a part of a checkpoint, under their full names.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/stateful.h"
#include "training/optimizer.h"

namespace rosa::training {

class WeightState : public base::Stateful {
 public:
  // The tensors are those of the model: load_state writes into them.
  explicit WeightState(NamedTensors tensors) : tensors_(std::move(tensors)) {}

  // From now on load_state takes states with other tensors: those that lack here are dropped, those that lack there
  // keep their values; `tell` gets the names.
  void accept_other_tensors(std::function<void(const std::string&)> tell) { on_difference_ = std::move(tell); }

  base::StateDict save_state() const override;
  // Throws CheckpointError for other names or shapes.
  void load_state(const base::StateDict& state) override;

 private:
  NamedTensors tensors_;
  std::function<void(const std::string&)> on_difference_;
};

}  // namespace rosa::training
