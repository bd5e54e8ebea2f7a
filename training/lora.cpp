#include "training/lora.h"

#include <algorithm>

#include "base/printable.h"
#include "models/causal_model.h"
#include "models/low_rank.h"
#include "training/trained_base.h"

namespace rosa::training {

void describe(base::FieldVisitor& visitor, LoraSection& config) {
  visitor.field("rank", config.rank, base::Role::recipe, "rank of what is added to each projection; 0: nothing is",
                {0, 1 << 16});
  visitor.field("alpha", config.alpha, base::Role::recipe, "what is added is scaled by alpha / rank", {1e-6, 1e6});
  visitor.field("patterns", config.patterns, base::Role::recipe,
                "patterns of the names of the projections it is for, e.g. [\"*.q_proj.weight\", \"*.v_proj.weight\"]");
}

void check(base::ConfigProblems& problems, const LoraSection& config) {
  problems.require(config.rank > 0 || config.patterns.empty(), {"rank", "patterns"}, "is 0, but ",
                   problems.full_key("patterns"), " names projections: give it a rank, or leave them out");
  problems.require(config.rank == 0 || !config.patterns.empty(), {"patterns", "rank"}, "is empty, but ",
                   problems.full_key("rank"), " is ", config.rank,
                   ": name projections, as in [\"*.q_proj.weight\", \"*.v_proj.weight\"]");
}

std::vector<std::string> lora_targets(const LoraSection& lora, const models::ModelConfig& model) {
  std::vector<std::string> names;
  if (lora.rank == 0) return names;
  for (const auto& [name, shape] : models::parameter_shapes(model)) {
    if (models::is_projection(name) && matches_any(name, lora.patterns)) names.push_back(name);
  }
  return names;
}

std::map<std::string, std::vector<int64_t>> lora_shapes(const LoraSection& lora, const models::ModelConfig& model) {
  if (lora.rank == 0) return {};
  return models::low_rank_shapes(model, lora_targets(lora, model), lora.rank);
}

NamedTensors lora_weights(models::AdapterSet* adapters) {
  if (adapters == nullptr || adapters->low_rank() == nullptr) return {};
  return adapters->low_rank()->parameters();
}

void add_lora(const RunConfig& config, const models::ModelConfig& model, models::AdapterSet& adapters) {
  const std::vector<std::string> targets = lora_targets(config.lora, model);
  if (targets.empty()) return;
  adapters.set_low_rank(
      models::LowRank(model, targets, config.lora.rank, config.lora.alpha, static_cast<uint64_t>(config.run.seed)));
}

void check_lora(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model) {
  if (config.lora.rank == 0) return;
  const auto shapes = models::parameter_shapes(model);
  for (const std::string& pattern : config.lora.patterns) {
    const auto matches = [&](const auto& entry) { return matches_pattern(entry.first, pattern); };
    const auto first = std::find_if(shapes.begin(), shapes.end(), matches);
    problems.require(first != shapes.end(), {"lora.patterns"}, "'", base::printable(pattern),
                     "' matches no weight of the base model; projections are called such as "
                     "model.layers.0.self_attn.q_proj.weight");
    const auto other = std::find_if(shapes.begin(), shapes.end(), [&](const auto& entry) {
      return matches(entry) && !models::is_projection(entry.first);
    });
    if (other == shapes.end()) continue;
    problems.add({"lora.patterns"}, base::concat("'", base::printable(pattern), "' matches ", other->first,
                                                 ", which is no linear projection of a layer; name these, as in ",
                                                 "*.q_proj.weight or *.mlp.*_proj.weight"));
  }
  for (const std::string& name : lora_targets(config.lora, model)) {
    const std::vector<int64_t>& shape = shapes.at(name);
    const bool fits = config.lora.rank <= std::min(shape[0], shape[1]);
    problems.require(fits, {"lora.rank"}, "is ", config.lora.rank, ", but ", name, " is a matrix of ", shape[0], " x ",
                     shape[1], ", of rank ", std::min(shape[0], shape[1]), " at most");
    const bool is_twice = matches_any(name, config.train.trainable_base);
    problems.require(!is_twice, {"lora.patterns", "train.trainable_base"}, "names ", name,
                     ", which train.trainable_base trains at full rank: take it out of one of the two");
    if (!fits || is_twice) return;  // the first is enough
  }
}

}  // namespace rosa::training
