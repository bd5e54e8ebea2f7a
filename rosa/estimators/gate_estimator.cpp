#include "rosa/estimators/gate_estimator.h"

#include "base/error.h"

namespace rosa {

using base::ConfigError;
using base::require;
using base::Role;

#define ROSA_GATE_ESTIMATOR(name) std::unique_ptr<GateEstimator> make_gate_##name(const GateEstimatorConfig& config);
#include "rosa/estimators/gate_estimators.inc"
#undef ROSA_GATE_ESTIMATOR

namespace {

struct Entry {
  const char* name;
  std::unique_ptr<GateEstimator> (*make)(const GateEstimatorConfig& config);
};

constexpr Entry kEntries[] = {
#define ROSA_GATE_ESTIMATOR(name) {#name, make_gate_##name},
#include "rosa/estimators/gate_estimators.inc"
#undef ROSA_GATE_ESTIMATOR
};

}  // namespace

void describe(base::FieldVisitor& visitor, RodeoConfig& config) {
  visitor.choice("stein_operator", config.stein_operator, Role::recipe,
                 {{"barker", SteinOperator::barker}, {"mpf", SteinOperator::mpf}},
                 "discrete Stein operator: Gibbs with Barker's weights, or those of minimum probability flow");
  visitor.choice(
      "slopes", config.slopes, Role::recipe,
      {{"none", RodeoSlopes::none}, {"routes", RodeoSlopes::routes}, {"flips", RodeoSlopes::flips}},
      "slopes of the control variates. none: without; routes: what the rows that retrieved a bit in the other "
      "strings would gain; flips: the effects of all flips at the hard bits, evaluated once a call");
  visitor.field("hidden_width", config.hidden_width, Role::recipe, "hidden units of the network", {1, 1024});
  visitor.field("train_every", config.train_every, Role::recipe,
                "one in this many channels trains the network, in turn", {1, 1024});
}

void describe(base::FieldVisitor& visitor, GateEstimatorConfig& config) {
  visitor.field("name", config.name, Role::recipe, "what estimates the gradient of the gate's logits",
                gate_estimator_names());
  visitor.choice("scope", config.scope, Role::recipe,
                 {{"joint", RewardScope::joint}, {"channel", RewardScope::channel}, {"causal", RewardScope::causal}},
                 "sampled estimators: the reward of a bit is that of its sequence, its channel, or its channel from "
                 "the bit on");
  visitor.field("num_samples", config.num_samples, Role::recipe,
                "bit strings drawn; in pairs for disarm and antithetic leg", {1, 1024});
  visitor.field("antithetic", config.antithetic, Role::recipe, "leg: draw the strings in antithetic pairs");
  visitor.field("temperature", config.temperature, Role::recipe, "bit t is 1 with probability sigmoid(x / temperature)",
                {1e-6, 1e6});
  visitor.field("compatible", config.compatible, Role::recipe,
                "fastrosa: disarm as FastRosa has it; its mean is not the gradient, but the gradient / max(p, 1 - p)",
                {"none", "fastrosa"});
  visitor.field("learning_rate", config.learning_rate, Role::recipe,
                "learning rate of Adam, for the weights that rodeo and double_cv train for themselves", {0, 1});
  visitor.section("rodeo", config.rodeo, "control variates of rodeo");
}

void GateEstimator::update(double /*num_rows*/) {}

void GateEstimator::load_state(const base::StateDict& state) {
  require<base::CheckpointError>(state.tensors.empty() && state.values.empty(),
                                 "gate estimator: the checkpoint has a state, but this estimator has none; the run "
                                 "was made with another gate estimator");
}

std::vector<std::string> gate_estimator_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kEntries) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<GateEstimator> make_gate_estimator(const GateEstimatorConfig& config) {
  require<ConfigError>(config.num_samples >= 1, "gate estimator: got num_samples ", config.num_samples,
                       ", expected at least 1");
  require<ConfigError>(config.temperature > 0, "gate estimator: got temperature ", config.temperature,
                       ", expected a positive number");
  require<ConfigError>(config.compatible == "none" || (config.compatible == "fastrosa" && config.name == "disarm"),
                       "gate estimator: got compatible ", config.compatible, " for ", config.name,
                       ", expected none, or fastrosa for disarm");
  std::string names;
  for (const Entry& entry : kEntries) {
    if (config.name == entry.name) return entry.make(config);
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw ConfigError("gate estimator: got name " + config.name + ", expected one of " + names);
}

}  // namespace rosa
