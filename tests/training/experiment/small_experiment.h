// A small experiment on the gate, and its arms.
#pragma once

#include <string>
#include <vector>

#include "training/experiment/experiment_config.h"

namespace rosa::training {

inline ExperimentConfig small_experiment(const std::string& folder) {
  ExperimentConfig config;
  config.experiment.folder = folder;
  config.experiment.num_steps = 8;
  config.experiment.evaluate_every = 3;
  config.experiment.num_evaluation_samples = 4;
  config.experiment.log_every = 1;
  config.data = {.num_samples = 8, .micro_batches = 4, .length = 24, .channels = 4};
  config.compute.automaton_threads = 1;
  return config;
}

inline ExperimentArm gate_arm(const std::string& name) {
  ExperimentArm arm{.label = name, .estimator = name, .gate = {}, .adapter = {}};
  arm.gate.name = name;
  return arm;
}

}  // namespace rosa::training
