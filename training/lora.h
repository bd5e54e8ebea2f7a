// The low-rank adaptation of the base model beside the adapters (lora.*): which weights it is for, and its rules.
// models/low_rank.h says what it computes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/config_problems.h"
#include "models/adapter.h"
#include "models/model_config.h"
#include "training/config.h"
#include "training/optimizer.h"

namespace rosa::training {

// Under this name a checkpoint keeps the pairs: float32, by their names.
inline constexpr const char* kLoraState = "lora";

// The names of the weights that get a pair, in order; empty where lora.rank is 0.
std::vector<std::string> lora_targets(const LoraSection& lora, const models::ModelConfig& model);

// Names and shapes of the pairs.
std::map<std::string, std::vector<int64_t>> lora_shapes(const LoraSection& lora, const models::ModelConfig& model);

// The pairs by name; none where the adapters have none, or are null.
NamedTensors lora_weights(models::AdapterSet* adapters);

// Gives the adapters their fresh pairs, where lora.rank asks for some.
void add_lora(const RunConfig& config, const models::ModelConfig& model, models::AdapterSet& adapters);

// What of lora.* does not fit the model, or train.trainable_base.
void check_lora(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model);

}  // namespace rosa::training
