#include "training/optimizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "parallel/gradient_reducer.h"
#include "rosa/operator/tensor_bytes.h"
#include "training/state_tensors.h"

namespace rosa::training {

using base::Role;

namespace {

// At 1 a moment would never move, and its correction divides by 0.
constexpr base::Range<double> kDecays{0.0, 0.999999};

}  // namespace

void describe(base::FieldVisitor& visitor, OptimizerConfig& config) {
  visitor.field("beta1", config.beta1, Role::recipe, "decay of the first moment", kDecays);
  visitor.field("beta2", config.beta2, Role::recipe, "decay of the second moment", kDecays);
  visitor.field("epsilon", config.epsilon, Role::recipe, "added to the root of the second moment", {1e-30, 1.0});
  visitor.field("weight_decay", config.weight_decay, Role::recipe, "decoupled weight decay, on every trained parameter",
                {0.0, 10.0});
  visitor.field("clip", config.clip, Role::recipe, "largest global gradient norm; 0: no clipping", {0.0, 1e9});
  visitor.field("rate_patterns", config.rate_patterns, Role::recipe,
                "patterns of parameter names (* stands for any text) with a learning-rate factor of their own");
  visitor.field("rate_factors", config.rate_factors, Role::recipe, "the factors, one a pattern; 0 freezes", {0.0, 1e6});
}

void check(base::ConfigProblems& problems, const OptimizerConfig& config) {
  problems.require(config.rate_patterns.size() == config.rate_factors.size(), {"rate_factors", "rate_patterns"}, "has ",
                   config.rate_factors.size(), " entries, but ", problems.full_key("rate_patterns"), " has ",
                   config.rate_patterns.size(), ": give one factor a pattern");
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

namespace {

bool is_trained(const std::string& name, const std::vector<std::string>& trainable, const OptimizerConfig& config) {
  const bool is_wanted = std::any_of(trainable.begin(), trainable.end(),
                                     [&](const std::string& pattern) { return matches_pattern(name, pattern); });
  return is_wanted && rate_factor(config, name) != 0.0;
}

}  // namespace

void check_patterns(base::ConfigProblems& problems, const std::vector<std::string>& names,
                    const std::vector<std::string>& trainable, const OptimizerConfig& config) {
  const auto require_used = [&](const std::vector<std::string>& patterns, const char* key) {
    for (const std::string& pattern : patterns) {
      const bool is_used = std::any_of(names.begin(), names.end(),
                                       [&](const std::string& name) { return matches_pattern(name, pattern); });
      problems.require(is_used, {key}, "'", base::excerpt(pattern), "' matches no parameter; there are such as ",
                       names.empty() ? "none" : names.front());
    }
  };
  require_used(trainable, "train.trainable");
  require_used(config.rate_patterns, "optimizer.rate_patterns");
  if (config.rate_patterns.size() != config.rate_factors.size()) return;
  const bool is_any_trained = std::any_of(names.begin(), names.end(),
                                          [&](const std::string& name) { return is_trained(name, trainable, config); });
  problems.require(is_any_trained, {"train.trainable", "optimizer.rate_factors"},
                   "leaves no parameter to train, together with optimizer.rate_factors");
}

NamedTensors select_trained(const NamedTensors& parameters, const std::vector<std::string>& trainable,
                            const OptimizerConfig& config) {
  std::vector<std::string> names;
  for (const auto& [name, parameter] : parameters) names.push_back(name);
  base::ConfigProblems problems;
  problems.section("optimizer", config);
  check_patterns(problems, names, trainable, config);
  problems.throw_if_any();
  NamedTensors trained;
  for (const auto& [name, parameter] : parameters) {
    if (is_trained(name, trainable, config)) trained.emplace(name, parameter);
  }
  return trained;
}

void clip_gradient(at::Tensor& flat_gradient, double norm, double clip) {
  if (clip <= 0.0) return;
  const double scale = clip / (norm + 1e-6);
  if (scale < 1.0) flat_gradient.mul_(scale);
}

AdamW::AdamW(OptimizerConfig config, const NamedTensors& parameters, const parallel::FlatLayout& layout,
             parallel::Communicator& communicator, bool sharded)
    : config_(std::move(config)),
      layout_(layout),
      communicator_(communicator),
      sharded_(sharded && communicator.world_size() > 1) {
  for (const auto& [name, parameter] : parameters) {
    base::require(parameter.is_contiguous() && parameter.scalar_type() == at::kFloat, "AdamW: '", name, "' is ",
                  c10::toString(parameter.scalar_type()), ", expected contiguous float32");
    names_.push_back(name);
    shapes_.push_back(parameter.sizes().vec());
    parameters_.push_back(parameter.detach().view({-1}));
  }
  base::require(names_.size() == layout_.num_tensors(), "AdamW: got ", names_.size(), " parameters and a layout of ",
                layout_.num_tensors());
  std::map<double, Group> groups;
  for (const auto& piece : sharded_ ? layout_.pieces_of_rank(communicator.rank()) : layout_.whole_tensors()) {
    const double factor = rate_factor(config_, names_[piece.tensor]);
    Group& group = groups[factor];
    group.factor = factor;
    group.pieces.push_back(piece);
    group.parameters.push_back(parameters_[piece.tensor].narrow(0, piece.begin, piece.size()));
    group.first_moments.push_back(at::zeros_like(group.parameters.back()));
    group.second_moments.push_back(at::zeros_like(group.parameters.back()));
  }
  for (auto& entry : groups) groups_.push_back(std::move(entry.second));
}

void AdamW::step(const at::Tensor& flat_gradient, double learning_rate) {
  at::NoGradGuard no_grad;
  ++num_steps_;
  for (Group& group : groups_) {
    std::vector<at::Tensor> gradients, steps;
    for (const auto& piece : group.pieces) {
      gradients.push_back(flat_gradient.narrow(0, piece.offset, piece.size()));
      steps.push_back(at::full({}, static_cast<double>(num_steps_), flat_gradient.options()));
    }
    at::_fused_adamw_(group.parameters, gradients, group.first_moments, group.second_moments, {}, steps,
                      learning_rate * group.factor, config_.beta1, config_.beta2, config_.weight_decay, config_.epsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
  }
  if (sharded_) bring_weights(flat_gradient);
}

// `flat` is room for all weights.
void AdamW::bring_weights(const at::Tensor& flat) {
  for (const Group& group : groups_) {
    for (size_t i = 0; i < group.pieces.size(); ++i) {
      flat.narrow(0, group.pieces[i].offset, group.pieces[i].size()).copy_(group.parameters[i]);
    }
  }
  parallel::all_gather_parts(communicator_, layout_, flat);
  for (size_t tensor = 0; tensor < parameters_.size(); ++tensor) {
    parameters_[tensor].copy_(flat.narrow(0, layout_.offset(tensor), layout_.size(tensor)));
  }
}

int64_t AdamW::state_bytes() const {
  int64_t num_elements = 0;
  for (const Group& group : groups_) {
    for (const auto& piece : group.pieces) num_elements += 2 * piece.size();
  }
  return num_elements * static_cast<int64_t>(sizeof(float));
}

at::Tensor AdamW::gather_moments(std::vector<at::Tensor> Group::*moments) const {
  at::Tensor flat = at::zeros({layout_.length()}, parameters_.front().options());
  for (const Group& group : groups_) {
    for (size_t i = 0; i < group.pieces.size(); ++i) {
      flat.narrow(0, group.pieces[i].offset, group.pieces[i].size()).copy_((group.*moments)[i]);
    }
  }
  parallel::all_gather_parts(communicator_, layout_, flat);
  return flat;
}

base::StateDict AdamW::save_state() const {
  at::NoGradGuard no_grad;
  base::StateDict state;
  state.values["num_steps"] = num_steps_;
  const auto save = [&](size_t tensor, const char* which, const at::Tensor& moments) {
    state.tensors[names_[tensor] + which] = to_state(moments.view(shapes_[tensor]));
  };
  for (const auto& [which, moments] :
       {std::pair{".first_moment", &Group::first_moments}, std::pair{".second_moment", &Group::second_moments}}) {
    if (sharded_) {
      const at::Tensor flat = gather_moments(moments);
      for (size_t tensor = 0; tensor < names_.size(); ++tensor) {
        save(tensor, which, flat.narrow(0, layout_.offset(tensor), layout_.size(tensor)));
      }
      continue;
    }
    for (const Group& group : groups_) {
      for (size_t i = 0; i < group.pieces.size(); ++i) save(group.pieces[i].tensor, which, (group.*moments)[i]);
    }
  }
  return state;
}

void AdamW::load_state(const base::StateDict& state) {
  at::NoGradGuard no_grad;
  std::vector<ExpectedTensor> expected;
  for (size_t tensor = 0; tensor < names_.size(); ++tensor) {
    for (const char* which : {".first_moment", ".second_moment"}) {
      expected.push_back({names_[tensor] + which, shapes_[tensor]});
    }
  }
  compare_tensors(state, expected, on_difference_);
  const auto load = [&](const char* which, const parallel::TensorPiece& piece, at::Tensor& target) {
    const auto found = state.tensors.find(names_[piece.tensor] + which);
    if (found == state.tensors.end()) {
      target.zero_();
      return;
    }
    target.copy_(from_state(found->second).reshape({-1}).narrow(0, piece.begin, piece.size()));
  };
  for (Group& group : groups_) {
    for (size_t i = 0; i < group.pieces.size(); ++i) {
      load(".first_moment", group.pieces[i], group.first_moments[i]);
      load(".second_moment", group.pieces[i], group.second_moments[i]);
    }
  }
  const auto steps = state.values.find("num_steps");
  base::require<base::CheckpointError>(steps != state.values.end() && std::holds_alternative<int64_t>(steps->second),
                                       "the optimiser state holds no integer 'num_steps'");
  num_steps_ = std::get<int64_t>(steps->second);
}

}  // namespace rosa::training
