#include "training/trained_base.h"

#include <algorithm>

#include "training/optimizer.h"

namespace rosa::training {

std::vector<std::string> trained_base_names(const TrainSection& train, const models::ModelConfig& model) {
  std::vector<std::string> names;
  if (train.trainable_base.empty()) return names;
  for (const auto& [name, shape] : models::parameter_shapes(model)) {
    const bool matches = std::any_of(train.trainable_base.begin(), train.trainable_base.end(),
                                     [&name = name](const auto& pattern) { return matches_pattern(name, pattern); });
    if (matches) names.push_back(name);
  }
  return names;
}

std::vector<std::string> trained_patterns(const TrainSection& train, const std::vector<std::string>& base_names) {
  std::vector<std::string> patterns = train.trainable;
  patterns.insert(patterns.end(), base_names.begin(), base_names.end());
  return patterns;
}

models::CausalModel frozen_copy(const models::CausalModel& model, const std::vector<std::string>& names) {
  std::map<std::string, at::Tensor> weights = model.parameters();
  for (const std::string& name : names) weights[name] = weights.at(name).detach().clone();
  return {model.config(), std::move(weights)};
}

void make_trainable(models::CausalModel& model, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    at::Tensor& weight = model.parameters().at(name);
    weight = weight.detach().to(at::kFloat).clone();
  }
}

}  // namespace rosa::training
