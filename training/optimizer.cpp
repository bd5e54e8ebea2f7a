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

// Norms, biases and embeddings of the base model. Adapters are decayed whole, as they always were.
bool is_left_out_of_decay(const std::string& name) {
  if (name.find(".rosa_attn.") != std::string::npos) return false;
  return name.ends_with("norm.weight") || name.ends_with(".bias") || name.find("embed_tokens") != std::string::npos;
}

}  // namespace

void describe(base::FieldVisitor& visitor, OptimizerGroup& config) {
  visitor.field("pattern", config.pattern, Role::recipe, "of the names of its parameters (* stands for any text)");
  visitor.field("rate", config.rate, Role::recipe, "factor of the learning rate; 0 freezes", {0.0, 1e6});
  visitor.field("weight_decay", config.weight_decay, Role::recipe,
                "of its parameters, whatever they are; -1: as others", {OptimizerGroup::kSameDecay, 10.0});
}

void describe(base::FieldVisitor& visitor, OptimizerConfig& config) {
  visitor.field("beta1", config.beta1, Role::recipe, "decay of the first moment", kDecays);
  visitor.field("beta2", config.beta2, Role::recipe, "decay of the second moment", kDecays);
  visitor.field("epsilon", config.epsilon, Role::recipe, "added to the root of the second moment", {1e-30, 1.0});
  visitor.field("weight_decay", config.weight_decay, Role::recipe, "decoupled weight decay", {0.0, 10.0});
  visitor.choice("weight_decay_on", config.weight_decay_on, Role::recipe,
                 {{"matrices", WeightDecayOn::matrices}, {"all", WeightDecayOn::all}},
                 "matrices: norms, biases and embeddings of the base model are not decayed (adapters are, whole); all: "
                 "every trained parameter is");
  visitor.field("clip", config.clip, Role::recipe, "largest global gradient norm; 0: no clipping", {0.0, 1e9});
  visitor.list("groups", config.groups, Role::recipe,
               "parameters with a learning rate or weight decay of their own, as in [{pattern: \"*.q_proj.*\", rate: "
               "0.1}]; a parameter is of the first group that matches");
  visitor.field("rate_patterns", config.rate_patterns, Role::recipe, "earlier spelling of groups: their patterns");
  visitor.field("rate_factors", config.rate_factors, Role::recipe, "earlier spelling of groups: their rates",
                {0.0, 1e6});
}

void check(base::ConfigProblems& problems, const OptimizerConfig& config) {
  problems.require(config.rate_patterns.size() == config.rate_factors.size(), {"rate_factors", "rate_patterns"}, "has ",
                   config.rate_factors.size(), " entries, but ", problems.full_key("rate_patterns"), " has ",
                   config.rate_patterns.size(), ": give one factor a pattern");
  problems.require(config.groups.empty() || config.rate_patterns.empty(), {"rate_patterns", "groups"},
                   "is the earlier spelling of groups, which are given too: write all of them in groups");
  for (size_t i = 0; i < config.groups.size(); ++i) {
    const OptimizerGroup& group = config.groups[i];
    const std::string key = base::concat("groups[", i, "].");
    problems.require(!group.pattern.empty(), {key + "pattern"}, "is empty: name the parameters of the group");
    problems.require(group.weight_decay >= 0 || group.weight_decay == OptimizerGroup::kSameDecay,
                     {key + "weight_decay"}, "is ", group.weight_decay, "; expected 0 to 10, or -1 for that of others");
  }
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

bool matches_any(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return matches_pattern(name, pattern); });
}

namespace {

// In either spelling.
std::vector<OptimizerGroup> groups_of(const OptimizerConfig& config) {
  base::require<base::ConfigError>(config.rate_patterns.size() == config.rate_factors.size(),
                                   "optimizer.rate_patterns has ", config.rate_patterns.size(),
                                   " entries but optimizer.rate_factors has ", config.rate_factors.size(),
                                   ": give one factor a pattern");
  std::vector<OptimizerGroup> groups = config.groups;
  for (size_t i = 0; i < config.rate_patterns.size(); ++i) {
    groups.push_back({.pattern = config.rate_patterns[i], .rate = config.rate_factors[i]});
  }
  return groups;
}

// The number of groups where none matches.
size_t group_index(const std::vector<OptimizerGroup>& groups, const std::string& name) {
  const auto found = std::find_if(groups.begin(), groups.end(),
                                  [&](const OptimizerGroup& group) { return matches_pattern(name, group.pattern); });
  return static_cast<size_t>(found - groups.begin());
}

ParameterSettings settings_of(const OptimizerConfig& config, const std::vector<OptimizerGroup>& groups,
                              const std::string& name) {
  const bool is_left_out = config.weight_decay_on == WeightDecayOn::matrices && is_left_out_of_decay(name);
  ParameterSettings settings{1.0, is_left_out ? 0.0 : config.weight_decay};
  const size_t index = group_index(groups, name);
  if (index == groups.size()) return settings;
  settings.rate = groups[index].rate;
  if (groups[index].weight_decay != OptimizerGroup::kSameDecay) settings.weight_decay = groups[index].weight_decay;
  return settings;
}

bool is_trained(const std::string& name, const std::vector<std::string>& trainable, const OptimizerConfig& config) {
  return matches_any(name, trainable) && parameter_settings(config, name).rate != 0.0;
}

}  // namespace

ParameterSettings parameter_settings(const OptimizerConfig& config, const std::string& name) {
  return settings_of(config, groups_of(config), name);
}

void check_patterns(base::ConfigProblems& problems, const std::vector<std::string>& names,
                    const std::vector<std::string>& trainable, const OptimizerConfig& config) {
  const auto require_used = [&](const std::string& pattern, const std::string& key) {
    const bool is_used = std::any_of(names.begin(), names.end(),
                                     [&](const std::string& name) { return matches_pattern(name, pattern); });
    problems.require(is_used, {key}, "'", base::excerpt(pattern), "' matches no parameter; there are such as ",
                     names.empty() ? "none" : names.front());
    return is_used;
  };
  for (const std::string& pattern : trainable) require_used(pattern, "train.trainable");
  for (const std::string& pattern : config.rate_patterns) require_used(pattern, "optimizer.rate_patterns");
  for (size_t i = 0; i < config.groups.size(); ++i) {
    const std::string key = base::concat("optimizer.groups[", i, "].pattern");
    if (!require_used(config.groups[i].pattern, key)) continue;
    const bool has_own = std::any_of(names.begin(), names.end(),
                                     [&](const std::string& name) { return group_index(config.groups, name) == i; });
    problems.require(has_own, {key}, "'", base::excerpt(config.groups[i].pattern),
                     "' matches only parameters of earlier groups, and the first that matches counts");
  }
  if (config.rate_patterns.size() != config.rate_factors.size()) return;
  const bool is_any_trained = std::any_of(names.begin(), names.end(),
                                          [&](const std::string& name) { return is_trained(name, trainable, config); });
  const char* key = config.groups.empty() ? "optimizer.rate_factors" : "optimizer.groups";
  problems.require(is_any_trained, {"train.trainable", key}, "leaves no parameter to train, together with ", key);
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

std::vector<GroupSummary> group_summaries(const NamedTensors& parameters, const std::vector<std::string>& trainable,
                                          const OptimizerConfig& config) {
  const std::vector<OptimizerGroup> groups = groups_of(config);
  std::map<std::pair<size_t, double>, GroupSummary> summaries;  // by group and decay
  for (const auto& [name, parameter] : parameters) {
    if (!matches_any(name, trainable)) continue;
    const size_t index = group_index(groups, name);
    const ParameterSettings settings = settings_of(config, groups, name);
    GroupSummary& summary = summaries[{index, -settings.weight_decay}];
    if (index < groups.size()) summary.pattern = groups[index].pattern;
    summary.settings = settings;
    ++summary.num_tensors;
    summary.num_elements += parameter.numel();
  }
  std::vector<GroupSummary> list;
  for (auto& entry : summaries) list.push_back(std::move(entry.second));
  return list;
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
  std::map<std::pair<double, double>, Group> groups;  // by rate and decay
  for (const auto& piece : sharded_ ? layout_.pieces_of_rank(communicator.rank()) : layout_.whole_tensors()) {
    const ParameterSettings settings = parameter_settings(config_, names_[piece.tensor]);
    Group& group = groups[{settings.rate, settings.weight_decay}];
    group.settings = settings;
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
                      learning_rate * group.settings.rate, config_.beta1, config_.beta2, group.settings.weight_decay,
                      config_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
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
