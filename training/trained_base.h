// The weights of the base model that are trained beside the adapters (train.trainable_base).
#pragma once

#include <string>
#include <vector>

#include "base/config_problems.h"
#include "models/causal_model.h"
#include "training/config.h"
#include "training/optimizer.h"
#include "training/run_rules.h"

namespace rosa::training {

// Under this name a checkpoint keeps them: float32, by full name.
inline constexpr const char* kBaseState = "base";

// Whether any stage of the run trains some.
bool trains_base(const TrainSection& train);

// The names of those that any stage of the run trains, in order; empty: the base is frozen.
std::vector<std::string> trained_base_names(const TrainSection& train, const models::ModelConfig& model);

// Which patterns match no weight of the model.
void check_base_patterns(base::ConfigProblems& problems, const TrainSection& train, const models::ModelConfig& model);

// The trained ones with their tensors.
NamedTensors trained_base(const TrainSection& train, const models::CausalModel& model);

// Whether an adapter's weight makes symbols that no gradient reaches, of an estimator or of the losses on codes.
bool is_fixed_hash(const RunConfig& config, const std::string& name);

// Patterns that select what is trained. Distillation: the adapters' weights of train.trainable (of which fixed hashes
// are never trained), exactly those of the base that are trained now, and the pairs of lora.h. Pretraining:
// train.trainable.
std::vector<std::string> trained_patterns(const RunConfig& config, Objective objective,
                                          const models::ModelConfig& model);

// A model of the same tensors: what `model` was before make_trainable().
models::CausalModel frozen_view(const models::CausalModel& model);

// Puts float32 masters in place of the named weights, which the forward casts where it computes in another dtype. They
// are copies: mapped weights can't be written to, and a frozen view keeps what it has.
void make_trainable(models::CausalModel& model, const std::vector<std::string>& names);

}  // namespace rosa::training
