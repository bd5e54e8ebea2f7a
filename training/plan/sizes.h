// RunSizes: the weights of a run by name and size, and which of them are trained: from configuration and model sizes
// alone, no weight is made.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "models/adapter.h"
#include "models/model_config.h"
#include "parallel/flat_layout.h"
#include "training/config.h"
#include "training/run_rules.h"

namespace rosa::training {

class RunSizes {
 public:
  // `config` keeps the rules of run_rules.h, and outlives the object. Throws ConfigError where adapters do not fit the
  // model or patterns select nothing.
  RunSizes(const RunConfig& config, Objective objective, const models::ModelConfig& model);

  // Resolved; null where there are no adapters.
  const models::AdapterConfig* adapter() const { return adapter_ ? &*adapter_ : nullptr; }
  const std::set<std::string>& trained() const { return trained_; }
  int64_t num_trained() const;  // elements

  int64_t num_base() const { return num_base_; }                  // elements of the base model's weights
  int64_t num_adapter() const { return num_adapter_; }            // elements of the adapters' weights
  int64_t num_trained_base() const { return num_trained_base_; }  // of the base, beside adapters
  int64_t num_lora() const { return num_lora_; }                  // of its low-rank adaptation
  int64_t base_bytes() const;
  int64_t adapter_bytes() const;  // with the low-rank adaptation

  // Of a sequence at any stage of the curriculum.
  int64_t longest_sequence() const;

  // Where gradients lie, as GradientReducer has it.
  parallel::FlatLayout layout(int world_size) const;

 private:
  const RunConfig& config_;
  std::optional<models::AdapterConfig> adapter_;
  std::set<std::string> trained_;
  std::vector<std::string> trained_names_;
  std::vector<int64_t> trained_sizes_;
  int64_t num_base_ = 0, num_adapter_ = 0, num_trained_base_ = 0, num_lora_ = 0;
};

}  // namespace rosa::training
