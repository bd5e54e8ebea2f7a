#include "training/trained_base.h"

namespace rosa::training {

std::vector<std::string> trained_base_names(const TrainSection& train, const models::ModelConfig& model) {
  std::vector<std::string> names;
  if (train.trainable_base.empty()) return names;
  for (const auto& [name, shape] : models::parameter_shapes(model)) {
    if (matches_any(name, train.trainable_base)) names.push_back(name);
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

std::vector<std::string> trained_patterns(const TrainSection& train, const models::ModelConfig& model) {
  std::vector<std::string> patterns = train.trainable;
  const std::vector<std::string> of_base = trained_base_names(train, model);
  patterns.insert(patterns.end(), of_base.begin(), of_base.end());
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
