#include "training/idle_keys.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "models/adapter_config.h"
#include "rosa/operator/qkv_estimator.h"
#include "training/field_values.h"

namespace rosa::training {
namespace {

// Whether a configuration reads some keys, and why it does not.
struct Use {
  std::vector<std::string> keys;
  bool is_read = false;
  std::string otherwise;
};

std::vector<Use> uses_of(const RunConfig& config) {
  const models::AdapterConfig& adapter = config.adapter;
  const QkvEstimator& estimator = find_qkv_estimator(adapter.estimator);
  const bool has_proxy = estimator.has_soft_output();
  const bool flips = adapter.estimator == "bit_flip" || adapter.estimator == "tied_flip" ||
                     adapter.estimator == "local_counterfactual";
  const std::string by_estimator = "adapter.estimator is " + adapter.estimator;
  const bool has_kl = config.loss.output > 0 && config.loss.distill_alpha > 0;
  const std::string no_kl = config.loss.output > 0 ? "loss.distill_alpha is 0" : "loss.output is 0";
  return {
      {{"loss.alignment_of", "loss.alignment_by", "loss.alignment_input", "loss.alignment_layers"},
       config.loss.alignment > 0,
       "loss.alignment is 0"},
      {{"loss.temperature", "loss.divergence", "loss.top_k", "loss.kl_on"}, has_kl, no_kl},
      {{"loss.beta"}, config.loss.divergence == Divergence::jensen_shannon, "loss.divergence is not jensen_shannon"},
      {{"loss.distill_alpha"}, config.loss.output > 0, "loss.output is 0"},
      {{"loss.chunk_bytes"}, config.loss.chunk_tokens == 0, "loss.chunk_tokens is given"},
      {{"adapter.agreement"}, models::adapter_gates(adapter).agreement, "adapter.gates does not name agreement"},
      {{"adapter.sufa_head_dim"}, adapter.estimator == "sufa", by_estimator},
      {{"adapter.proxy_kernel", "adapter.proxy_mask", "adapter.position_bias"}, has_proxy, by_estimator},
      {{"adapter.flip_scale"}, flips, by_estimator},
      {{"schedules.alpha", "schedules.attn_tau"}, has_proxy, by_estimator},
      {{"lora.alpha", "lora.patterns"}, config.lora.rank > 0, "lora.rank is 0"},
      {{"train.early_stop.figure", "train.early_stop.min_delta"},
       config.train.early_stop.patience > 0,
       "train.early_stop.patience is 0"},
      {{"evaluation.suite_every"}, !config.evaluation.suite.empty(), "evaluation.suite is empty"},
      {{"evaluation.sample_prompt_tokens", "evaluation.sample_tokens"},
       config.evaluation.samples > 0,
       "evaluation.samples is 0"},
      {{"evaluation.suite", "evaluation.samples"}, config.evaluation.every > 0, "evaluation.every is 0"},
      {{"checkpoint.best_by"}, config.checkpoint.keep_best > 0, "checkpoint.keep_best is 0"},
  };
}

// "schedules.alpha" stands for all keys of that section.
bool is_of(const std::string& key, const std::string& name) {
  return key == name || (key.starts_with(name) && key[name.size()] == '.');
}

std::map<std::string, std::string> values_of(RunConfig config) {
  return field_values([&config](base::FieldVisitor& visitor) { describe(visitor, config); },
                      {base::Role::recipe, base::Role::place, base::Role::free});
}

// Keys that this stage was given a value of its own for, and does not read; by key, the reason.
std::map<std::string, std::string> idle_in(const Stage& stage) {
  const std::map<std::string, std::string> own = values_of(stage.config);
  const std::map<std::string, std::string> usual = values_of(recipe_defaults(stage.config.recipe));
  std::map<std::string, std::string> idle;
  for (const auto& [key, value] : own) {
    const auto source = stage.origin.sources.find(key);
    const bool is_given =
        source != stage.origin.sources.end() && source->second != "default" && !source->second.starts_with("recipe ");
    const auto other = usual.find(key);
    if (!is_given || (other != usual.end() && other->second == value)) continue;
    for (const Use& use : uses_of(stage.config)) {
      const bool is_named =
          std::any_of(use.keys.begin(), use.keys.end(), [&key](const std::string& name) { return is_of(key, name); });
      if (is_named && !use.is_read) idle.emplace(key, use.otherwise);
    }
  }
  return idle;
}

// Whether the stage reads the key.
bool reads(const Stage& stage, const std::string& key) {
  const std::vector<Use> uses = uses_of(stage.config);
  return std::all_of(uses.begin(), uses.end(), [&key](const Use& use) {
    return use.is_read ||
           std::none_of(use.keys.begin(), use.keys.end(), [&key](const std::string& name) { return is_of(key, name); });
  });
}

}  // namespace

std::vector<IdleKey> idle_keys(const Stages& stages) {
  std::map<std::string, std::string> idle;
  for (const Stage& stage : stages) {
    for (const auto& [key, reason] : idle_in(stage)) {
      const bool is_read =
          std::any_of(stages.begin(), stages.end(), [&key = key](const Stage& other) { return reads(other, key); });
      if (!is_read) idle.emplace(key, reason);
    }
  }
  std::vector<IdleKey> result;
  for (const auto& [key, reason] : idle) result.push_back({key, reason});
  return result;
}

std::string idle_key_text(const IdleKey& idle) { return base::concat(idle.key, " has no effect: ", idle.reason); }

}  // namespace rosa::training
