#include "training/optimizer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "rosa/operator/tensor_bytes.h"

namespace rosa::training {
namespace {

constexpr int64_t kNormBlock = 4096;

// Sum of squares in float64: over blocks of kNormBlock elements, blocks in order.
double square_sum(const at::Tensor& slice) {
  const int64_t size = slice.numel();
  const int64_t whole = size / kNormBlock * kNormBlock;
  double total = 0.0;
  const auto add_rows = [&](const at::Tensor& rows) {
    const at::Tensor sums = rows.to(at::kDouble).square().sum(1).cpu();
    for (int64_t i = 0; i < sums.numel(); ++i) total += sums.const_data_ptr<double>()[i];
  };
  if (whole > 0) add_rows(slice.narrow(0, 0, whole).view({-1, kNormBlock}));
  if (whole < size) add_rows(slice.narrow(0, whole, size - whole).view({1, -1}));
  return total;
}

template <class Visit>  // visit(name, parameter, offset)
void for_each_slice(const NamedTensors& parameters, Visit visit) {
  int64_t offset = 0;
  for (const auto& [name, parameter] : parameters) {
    visit(name, parameter, offset);
    offset += parameter.numel();
  }
}

}  // namespace

void describe(base::FieldVisitor& visitor, OptimizerConfig& config) {
  visitor.field("beta1", config.beta1, "decay of the first moment", {0.0, 1.0});
  visitor.field("beta2", config.beta2, "decay of the second moment", {0.0, 1.0});
  visitor.field("epsilon", config.epsilon, "added to the root of the second moment", {0.0, 1.0});
  visitor.field("weight_decay", config.weight_decay, "decoupled weight decay, on every trained parameter", {0.0, 10.0});
  visitor.field("clip", config.clip, "largest global gradient norm; 0: no clipping", {0.0, 1e9});
  visitor.field("rate_patterns", config.rate_patterns,
                "patterns of parameter names (* stands for any text) with a learning-rate factor of their own");
  visitor.field("rate_factors", config.rate_factors, "the factors, one a pattern; 0 freezes", {0.0, 1e6});
}

bool matches_pattern(const std::string& name, const std::string& pattern) {
  size_t n = 0, p = 0, star = std::string::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

double rate_factor(const OptimizerConfig& config, const std::string& name) {
  base::require<base::ConfigError>(config.rate_patterns.size() == config.rate_factors.size(),
                                   "optimizer.rate_patterns has ", config.rate_patterns.size(),
                                   " entries but optimizer.rate_factors has ", config.rate_factors.size(),
                                   ": give one factor a pattern");
  for (size_t i = 0; i < config.rate_patterns.size(); ++i) {
    if (matches_pattern(name, config.rate_patterns[i])) return config.rate_factors[i];
  }
  return 1.0;
}

NamedTensors select_trained(const NamedTensors& parameters, const std::vector<std::string>& trainable,
                            const OptimizerConfig& config) {
  const auto require_used = [&](const std::vector<std::string>& patterns, const char* key) {
    for (const std::string& pattern : patterns) {
      const bool used = std::any_of(parameters.begin(), parameters.end(),
                                    [&](const auto& entry) { return matches_pattern(entry.first, pattern); });
      base::require<base::ConfigError>(used, key, ": '", pattern, "' matches no parameter; there are such as ",
                                       parameters.empty() ? std::string("none") : parameters.begin()->first);
    }
  };
  require_used(trainable, "train.trainable");
  require_used(config.rate_patterns, "optimizer.rate_patterns");
  NamedTensors trained;
  for (const auto& [name, parameter] : parameters) {
    const bool wanted = std::any_of(trainable.begin(), trainable.end(),
                                    [&, &n = name](const std::string& pattern) { return matches_pattern(n, pattern); });
    if (wanted && rate_factor(config, name) != 0.0) trained.emplace(name, parameter);
  }
  base::require<base::ConfigError>(!trained.empty(),
                                   "train.trainable and optimizer.rate_factors leave no parameter to train");
  return trained;
}

int64_t flat_size(const NamedTensors& parameters) {
  int64_t size = 0;
  for (const auto& entry : parameters) size += entry.second.numel();
  return size;
}

at::Tensor take_flat_gradient(const NamedTensors& parameters) {
  base::require(!parameters.empty(), "there is no parameter to train");
  at::NoGradGuard no_grad;
  const auto device = parameters.begin()->second.device();
  at::Tensor flat = at::empty({flat_size(parameters)}, at::TensorOptions(at::kFloat).device(device));
  for_each_slice(parameters, [&](const std::string&, const at::Tensor& parameter, int64_t offset) {
    at::Tensor slice = flat.narrow(0, offset, parameter.numel());
    at::Tensor& gradient = parameter.mutable_grad();
    if (gradient.defined()) {
      slice.copy_(gradient.reshape({-1}));
      gradient.reset();
    } else {
      slice.zero_();
    }
  });
  return flat;
}

double gradient_norm(const NamedTensors& parameters, const at::Tensor& flat_gradient) {
  at::NoGradGuard no_grad;
  double total = 0.0;
  for_each_slice(parameters, [&](const std::string&, const at::Tensor& parameter, int64_t offset) {
    total += square_sum(flat_gradient.narrow(0, offset, parameter.numel()));
  });
  return std::sqrt(total);
}

void clip_gradient(at::Tensor& flat_gradient, double norm, double clip) {
  if (clip <= 0.0) return;
  const double scale = clip / (norm + 1e-6);
  if (scale < 1.0) flat_gradient.mul_(scale);
}

AdamW::AdamW(OptimizerConfig config, const NamedTensors& parameters) : config_(std::move(config)) {
  std::map<double, Group> groups;
  for_each_slice(parameters, [&](const std::string& name, const at::Tensor& parameter, int64_t offset) {
    const double factor = rate_factor(config_, name);
    Group& group = groups[factor];
    group.factor = factor;
    group.names.push_back(name);
    group.parameters.push_back(parameter.detach());
    group.first_moments.push_back(at::zeros_like(parameter, at::kFloat));
    group.second_moments.push_back(at::zeros_like(parameter, at::kFloat));
    group.slices.emplace_back(offset, parameter.numel());
  });
  for (auto& entry : groups) groups_.push_back(std::move(entry.second));
}

void AdamW::step(const at::Tensor& flat_gradient, double learning_rate) {
  at::NoGradGuard no_grad;
  ++num_steps_;
  for (Group& group : groups_) {
    std::vector<at::Tensor> gradients, steps;
    for (size_t i = 0; i < group.parameters.size(); ++i) {
      const auto [offset, size] = group.slices[i];
      gradients.push_back(flat_gradient.narrow(0, offset, size).view(group.parameters[i].sizes()));
      steps.push_back(at::full({}, static_cast<double>(num_steps_), group.first_moments[i].options()));
    }
    at::_fused_adamw_(group.parameters, gradients, group.first_moments, group.second_moments, {}, steps,
                      learning_rate * group.factor, config_.beta1, config_.beta2, config_.weight_decay, config_.epsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
  }
}

base::StateDict AdamW::save_state() const {
  base::StateDict state;
  state.values["num_steps"] = num_steps_;
  for (const Group& group : groups_) {
    for (size_t i = 0; i < group.names.size(); ++i) {
      state.tensors[group.names[i] + ".first_moment"] = to_state(group.first_moments[i]);
      state.tensors[group.names[i] + ".second_moment"] = to_state(group.second_moments[i]);
    }
  }
  return state;
}

void AdamW::load_state(const base::StateDict& state) {
  const auto load = [&](const std::string& name, at::Tensor& target) {
    const auto found = state.tensors.find(name);
    base::require<base::CheckpointError>(found != state.tensors.end(), "the optimiser state holds no '", name,
                                         "'; was the checkpoint written with other trained parameters?");
    const at::Tensor value = from_state(found->second);
    base::require<base::CheckpointError>(value.sizes() == target.sizes(), "the optimiser state '", name, "' has shape ",
                                         value.sizes(), ", expected ", target.sizes());
    target.copy_(value);
  };
  for (Group& group : groups_) {
    for (size_t i = 0; i < group.names.size(); ++i) {
      load(group.names[i] + ".first_moment", group.first_moments[i]);
      load(group.names[i] + ".second_moment", group.second_moments[i]);
    }
  }
  const auto steps = state.values.find("num_steps");
  base::require<base::CheckpointError>(steps != state.values.end() && std::holds_alternative<int64_t>(steps->second),
                                       "the optimiser state holds no integer 'num_steps'");
  num_steps_ = std::get<int64_t>(steps->second);
}

}  // namespace rosa::training
