#include "training/trained_base.h"

#include <algorithm>

#include "base/printable.h"
#include "training/lora.h"

namespace rosa::training {

bool trains_base(const TrainSection& train) { return !train.trainable_base.empty() || !train.base_of_run.empty(); }

std::vector<std::string> trained_base_names(const TrainSection& train, const models::ModelConfig& model) {
  std::vector<std::string> names;
  if (!trains_base(train)) return names;
  for (const auto& [name, shape] : models::parameter_shapes(model)) {
    if (matches_any(name, train.trainable_base) || matches_any(name, train.base_of_run)) names.push_back(name);
  }
  return names;
}

NamedTensors trained_base(const TrainSection& train, const models::CausalModel& model) {
  NamedTensors weights;
  for (const std::string& name : trained_base_names(train, model.config())) {
    weights.emplace(name, model.parameters().at(name));
  }
  return weights;
}

void check_base_patterns(base::ConfigProblems& problems, const TrainSection& train, const models::ModelConfig& model) {
  if (train.trainable_base.empty()) return;
  const auto shapes = models::parameter_shapes(model);
  for (const std::string& pattern : train.trainable_base) {
    const bool matches = std::any_of(shapes.begin(), shapes.end(),
                                     [&](const auto& entry) { return matches_pattern(entry.first, pattern); });
    problems.require(matches, {"train.trainable_base"}, "'", base::printable(pattern),
                     "' matches no weight of the base model, such as ", shapes.begin()->first);
  }
}

bool is_fixed_hash(const RunConfig& config, const std::string& name) {
  if (!models::is_fixed_hash(config.adapter, name) || config.loss.code_balance > 0) return false;
  return config.loss.code_consistency == 0 || name.find(".rosa_attn.v_proj.") != std::string::npos;
}

namespace {

// train.trainable, but where fixed hashes are among what a pattern matches: then the others by name. A pattern that
// matches nothing stays, for check_patterns to tell.
std::vector<std::string> patterns_without_hashes(const RunConfig& config, const models::ModelConfig& model) {
  const auto shapes = models::adapter_parameter_shapes(models::resolve(config.adapter, model), model);
  std::vector<std::string> patterns;
  for (const std::string& pattern : config.train.trainable) {
    std::vector<std::string> names;
    bool has_hash = false;
    for (const auto& [name, shape] : shapes) {
      if (!matches_pattern(name, pattern)) continue;
      const bool is_hash = is_fixed_hash(config, name);
      has_hash = has_hash || is_hash;
      if (!is_hash) names.push_back(name);
    }
    if (!has_hash) names = {pattern};
    patterns.insert(patterns.end(), names.begin(), names.end());
  }
  return patterns;
}

}  // namespace

std::vector<std::string> trained_patterns(const RunConfig& config, Objective objective,
                                          const models::ModelConfig& model) {
  if (objective == Objective::pretrain) return config.train.trainable;
  std::vector<std::string> patterns = patterns_without_hashes(config, model);
  for (const std::string& name : trained_base_names(config.train, model)) {
    if (matches_any(name, config.train.trainable_base)) patterns.push_back(name);
  }
  for (const auto& [name, shape] : lora_shapes(config.lora, model)) patterns.push_back(name);
  return patterns;
}

models::CausalModel frozen_view(const models::CausalModel& model) { return {model.config(), model.parameters()}; }

void make_trainable(models::CausalModel& model, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    at::Tensor& weight = model.parameters().at(name);
    weight = weight.detach().to(at::kFloat).clone();
  }
}

}  // namespace rosa::training
