// AdamW over a named, ordered set of parameters whose summed gradients come as one flat tensor
// (parallel/flat_layout.h), its state whole on every rank or sharded over them; clipping. Sums no gradients.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/config_problems.h"
#include "base/fields.h"
#include "base/stateful.h"
#include "parallel/communicator.h"
#include "parallel/flat_layout.h"

namespace rosa::training {

// Parameters by full name.
using NamedTensors = std::map<std::string, at::Tensor>;

// Parameters that are trained in a way of their own.
struct OptimizerGroup {
  static constexpr double kSameDecay = -1.0;

  std::string pattern;               // of their names
  double rate = 1.0;                 // factor of the learning rate; 0 freezes
  double weight_decay = kSameDecay;  // kSameDecay: as without the group
};
void describe(base::FieldVisitor& visitor, OptimizerGroup& config);

// Which parameters OptimizerConfig::weight_decay is for.
enum class WeightDecayOn {
  matrices,  // not for the base model's norms, biases and embeddings; for all of the adapters
  all,
};

struct OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  WeightDecayOn weight_decay_on = WeightDecayOn::matrices;
  double clip = 1.0;                        // largest global gradient norm; 0: no clipping
  std::vector<OptimizerGroup> groups = {};  // a parameter is of the first that matches its name, or of none
  // The earlier spelling of groups: patterns, and a rate for each.
  std::vector<std::string> rate_patterns = {};
  std::vector<double> rate_factors = {};
};

void describe(base::FieldVisitor& visitor, OptimizerConfig& config);
void check(base::ConfigProblems& problems, const OptimizerConfig& config);

// Whether `name` matches a pattern in which * stands for any text.
bool matches_pattern(const std::string& name, const std::string& pattern);
bool matches_any(const std::string& name, const std::vector<std::string>& patterns);

// What the groups make of one parameter.
struct ParameterSettings {
  double rate = 1.0;  // factor of the learning rate
  double weight_decay = 0.0;
};

// Of the group of the first pattern that matches. Throws ConfigError where rate_patterns and rate_factors differ in
// length.
ParameterSettings parameter_settings(const OptimizerConfig& config, const std::string& name);

// What is wrong with patterns of parameter names, given the names: patterns that match nothing (keys `trainable_key`,
// such as "train.trainable", and those of the groups), groups that earlier ones leave nothing to, and that nothing is
// left to train.
void check_patterns(base::ConfigProblems& problems, const std::vector<std::string>& names,
                    const std::vector<std::string>& trainable, const OptimizerConfig& config);

// Those of `parameters` that a pattern of `trainable` matches and whose rate factor is not 0. Throws ConfigError for a
// pattern that matches nothing, and where nothing is left to train.
NamedTensors select_trained(const NamedTensors& parameters, const std::vector<std::string>& trainable,
                            const OptimizerConfig& config);

// Parameters that one pattern gives the same settings, for people.
struct GroupSummary {
  std::string pattern;  // empty: no group matches
  ParameterSettings settings;
  int64_t num_tensors = 0, num_elements = 0;
};

// Of those of `parameters` that a pattern of `trainable` matches, frozen ones too: in the order of the groups, the rest
// last.
std::vector<GroupSummary> group_summaries(const NamedTensors& parameters, const std::vector<std::string>& trainable,
                                          const OptimizerConfig& config);

// Scales by min(1, clip / (norm + 1e-6)); clip 0 leaves the gradient as it is.
void clip_gradient(at::Tensor& flat_gradient, double norm, double clip);

class AdamW : public base::Stateful {
 public:
  // `parameters` (float32, contiguous) are updated in place; tensor i of `layout` is the i-th by name. `sharded`: this
  // rank keeps the moments of its own parts of the layout only and updates these; every step then brings the weights
  // of the other parts from their ranks. The communicator outlives the optimiser.
  AdamW(OptimizerConfig config, const NamedTensors& parameters, const parallel::FlatLayout& layout,
        parallel::Communicator& communicator, bool sharded);

  // One step of decoupled AdamW (ATen's fused kernel) with a flat gradient, which is overwritten where the optimiser is
  // sharded. The weights have the same bits sharded and not. Collective where sharded: every rank calls it.
  void step(const at::Tensor& flat_gradient, double learning_rate);

  // Memory of the moments on this rank.
  int64_t state_bytes() const;

  // The moments of every parameter by its name, whole. Collective where sharded: every rank calls it.
  base::StateDict save_state() const override;
  // From now on load_state takes states of other parameters: moments that lack there start at 0; `tell` gets the names.
  void accept_other_tensors(std::function<void(const std::string&)> tell) { on_difference_ = std::move(tell); }
  // Takes what this rank needs. Throws CheckpointError for other names or shapes.
  void load_state(const base::StateDict& state) override;

 private:
  struct Group {  // pieces of parameters with the same settings
    ParameterSettings settings;
    std::vector<parallel::TensorPiece> pieces;
    std::vector<at::Tensor> parameters, first_moments, second_moments;  // 1-D, of the pieces
  };

  void bring_weights(const at::Tensor& flat);
  at::Tensor gather_moments(std::vector<at::Tensor> Group::*moments) const;

  OptimizerConfig config_;
  std::vector<std::string> names_;
  std::vector<std::vector<int64_t>> shapes_;
  std::vector<at::Tensor> parameters_;  // 1-D
  parallel::FlatLayout layout_;
  parallel::Communicator& communicator_;
  bool sharded_;
  std::vector<Group> groups_;
  int64_t num_steps_ = 0;
  std::function<void(const std::string&)> on_difference_;
};

}  // namespace rosa::training
