#include "models/model_config.h"

#include "base/error.h"
#include "base/json.h"

namespace rosa::models {
namespace {

using base::concat;
using base::Role;
using Json = nlohmann::ordered_json;

constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxSize = int64_t{1} << 31;

Json rope_to_json(const RopeScaling& scaling) {
  Json json;
  const auto put = [&json](const char* key, const std::optional<double>& value) {
    if (value.has_value()) json[key] = *value;
  };
  switch (scaling.type) {
    case RopeType::plain:
      return {{"rope_type", "default"}};
    case RopeType::linear:
      return {{"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeType::dynamic:
      return {{"rope_type", "dynamic"}, {"factor", scaling.factor}};
    case RopeType::llama3:
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"original_max_position_embeddings", scaling.original_max_position_embeddings},
              {"low_freq_factor", scaling.low_freq_factor},
              {"high_freq_factor", scaling.high_freq_factor}};
    case RopeType::yarn:
      json = {{"rope_type", "yarn"},
              {"factor", scaling.factor},
              {"original_max_position_embeddings", scaling.original_max_position_embeddings},
              {"beta_fast", scaling.beta_fast},
              {"beta_slow", scaling.beta_slow},
              {"truncate", scaling.truncate}};
      put("attention_factor", scaling.attention_factor);
      put("mscale", scaling.mscale);
      put("mscale_all_dim", scaling.mscale_all_dim);
  }
  return json;
}

}  // namespace

const FamilyTraits& traits(ModelFamily family) {
  static constexpr FamilyTraits kQwen3 = {"qwen3", "Qwen3", true, false};
  static constexpr FamilyTraits kQwen2 = {"qwen2", "Qwen2", false, true};
  static constexpr FamilyTraits kLlama = {"llama", "Llama", false, false};
  return family == ModelFamily::qwen3 ? kQwen3 : family == ModelFamily::qwen2 ? kQwen2 : kLlama;
}

void describe(base::FieldVisitor& visitor, ModelConfig& config) {
  std::vector<std::pair<std::string, ModelFamily>> families;
  for (const ModelFamily family : kFamilies) families.emplace_back(traits(family).model_type, family);
  visitor.choice(
      "family", config.family, Role::recipe, families,
      "Kind of model: Qwen3 (norms of queries and keys), Qwen2 (biases of queries, keys and values) or Llama "
      "(neither).");
  visitor.field("vocab_size", config.vocab_size, Role::recipe, "Number of token ids.", {1, 1 << 22});
  visitor.field("hidden_size", config.hidden_size, Role::recipe, "Width of the residual stream.", {1, 1 << 16});
  visitor.field("intermediate_size", config.intermediate_size, Role::recipe, "Width of the feed-forward part.",
                {1, 1 << 18});
  visitor.field("num_hidden_layers", config.num_hidden_layers, Role::recipe, "Number of decoder layers.",
                {1, kMaxLayers});
  visitor.field("num_attention_heads", config.num_attention_heads, Role::recipe, "Number of query heads.",
                {1, 1 << 12});
  visitor.field("num_key_value_heads", config.num_key_value_heads, Role::recipe,
                "Number of key/value heads; divides num_attention_heads.", {1, 1 << 12});
  visitor.field("head_dim", config.head_dim, Role::recipe, "Width of an attention head; even.", {1, 1 << 12});
  visitor.field("max_position_embeddings", config.max_position_embeddings, Role::recipe,
                "Longest sequence the model is meant for; written to config.json.", {1, kMaxSize - 1});
  visitor.field("rms_norm_eps", config.rms_norm_eps, Role::recipe, "Added to the mean square in RMSNorm.",
                {1e-12, 1.0});
  visitor.field("rope_theta", config.rope_theta, Role::recipe, "Base of the rotary position frequencies.", {1.0, 1e15});
  visitor.field("initializer_range", config.initializer_range, Role::recipe,
                "Standard deviation of the random weights a model starts from.", {1e-9, 10.0});
  visitor.field("tie_word_embeddings", config.tie_word_embeddings, Role::recipe,
                "Whether the output projection is the token embedding.");
}

double num_parameters(const ModelConfig& config) {
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  const double hidden = number(config.hidden_size), head_dim = number(config.head_dim);
  const double attention =
      hidden * head_dim * 2 * (number(config.num_attention_heads) + number(config.num_key_value_heads));
  const FamilyTraits& family = traits(config.family);
  const double norms = family.query_key_norms ? 2 * head_dim : 0;
  const double bias = family.query_key_value_bias
                          ? head_dim * (number(config.num_attention_heads) + 2 * number(config.num_key_value_heads))
                          : 0;
  const double layer = attention + 3 * hidden * number(config.intermediate_size) + 2 * hidden + norms + bias;
  const double embedding = number(config.vocab_size) * hidden * (config.tie_word_embeddings ? 1 : 2);
  return embedding + number(config.num_hidden_layers) * layer + hidden;
}

void check(base::ConfigProblems& problems, const ModelConfig& config) {
  problems.require(config.num_attention_heads % config.num_key_value_heads == 0,
                   {"num_key_value_heads", "num_attention_heads"}, "is ", config.num_key_value_heads,
                   "; expected a divisor of num_attention_heads, which is ", config.num_attention_heads);
  problems.require(config.head_dim % 2 == 0, {"head_dim"}, "is ", config.head_dim,
                   "; expected an even number, as the rotary embedding turns pairs");
  const RopeScaling& rope = config.rope_scaling;
  problems.require(rope.type != RopeType::dynamic || config.head_dim > 2, {"head_dim"}, "is ", config.head_dim,
                   "; rope_type \"dynamic\" needs more than 2");
  problems.require(rope.type != RopeType::yarn || config.rope_theta > 1, {"rope_theta"}, "is ", config.rope_theta,
                   "; rope_type \"yarn\" needs more than 1");
  problems.require(rope.type != RopeType::llama3 || rope.low_freq_factor < rope.high_freq_factor, {"rope_scaling"},
                   "has low_freq_factor ", rope.low_freq_factor, " and high_freq_factor ", rope.high_freq_factor,
                   "; expected a greater high_freq_factor");
  problems.require(rope.factor >= 1, {"rope_scaling"}, "has a factor of ", rope.factor, "; expected at least 1");
  // A file of a few bytes must not make names and tables of billions of layers.
  problems.require(config.num_hidden_layers <= kMaxLayers, {"num_hidden_layers"}, "is ", config.num_hidden_layers,
                   ", expected at most ", kMaxLayers, "; do config.json and the weights belong together?");
  constexpr double kMaxParameters = 1e12;
  const double total = num_parameters(config);
  problems.require(total <= kMaxParameters,
                   {"hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "num_attention_heads",
                    "num_key_value_heads", "head_dim"},
                   "the sizes make a model of ", total, " weights, expected at most ", kMaxParameters);
}

std::string to_json(const ModelConfig& config) {
  Json json;
  json["architectures"] = {base::concat(traits(config.family).class_prefix, "ForCausalLM")};
  json["model_type"] = traits(config.family).model_type;
  json["attention_bias"] = false;
  json["attention_dropout"] = 0.0;
  json["bos_token_id"] = nullptr;
  json["eos_token_id"] = nullptr;
  if (config.eos_token_ids.size() == 1) json["eos_token_id"] = config.eos_token_ids.front();
  if (config.eos_token_ids.size() > 1) json["eos_token_id"] = config.eos_token_ids;
  json["head_dim"] = config.head_dim;
  json["hidden_act"] = "silu";
  json["hidden_size"] = config.hidden_size;
  json["initializer_range"] = config.initializer_range;
  json["intermediate_size"] = config.intermediate_size;
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["max_window_layers"] = config.num_hidden_layers;
  json["num_attention_heads"] = config.num_attention_heads;
  json["num_hidden_layers"] = config.num_hidden_layers;
  json["num_key_value_heads"] = config.num_key_value_heads;
  json["rms_norm_eps"] = config.rms_norm_eps;
  // Version 4 reads the top-level key and rope_scaling, version 5 the section.
  json["rope_theta"] = config.rope_theta;
  Json rope = rope_to_json(config.rope_scaling);
  if (config.rope_scaling.type != RopeType::plain) json["rope_scaling"] = rope;
  rope["rope_theta"] = config.rope_theta;
  json["rope_parameters"] = rope;
  json["sliding_window"] = nullptr;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["torch_dtype"] = config.dtype;
  json["use_cache"] = true;
  json["use_sliding_window"] = false;
  json["vocab_size"] = config.vocab_size;
  return json.dump(2) + "\n";
}
}  // namespace rosa::models
