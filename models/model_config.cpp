#include "models/model_config.h"

#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/printable.h"

namespace rosa::models {
namespace {

constexpr int64_t kMaxLayers = 4096;

using base::concat;
using base::DataError;
using base::require;
using base::Role;
using Json = nlohmann::json;

constexpr int64_t kMaxSize = int64_t{1} << 31;
constexpr int64_t kMaxConfigBytes = 1 << 20;

// A value of the file in a message.
std::string shown(const Json& value) { return base::excerpt(value.dump()); }

// One JSON object whose members are fetched by name; every complaint names file and key.
class Members {
 public:
  Members(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  // The member, or null where it is missing or null.
  const Json* find(const std::string& key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  bool contains(const std::string& key) const { return object_.contains(key); }

  int64_t integer(const std::string& key, std::optional<int64_t> fallback = {}) const {
    const Json* value = find(key);
    if (value == nullptr && fallback.has_value()) return *fallback;
    require<DataError>(value != nullptr, where_, ": key '", key, "' is missing; expected a positive whole number");
    const bool good = value->is_number_integer() && *value > 0 && *value < kMaxSize;
    require<DataError>(good, where_, ": key '", key, "' is ", shown(*value), "; expected a whole number from 1 to ",
                       kMaxSize - 1);
    return value->get<int64_t>();
  }

  double positive_number(const std::string& key, std::optional<double> fallback = {}) const {
    const Json* value = find(key);
    if (value == nullptr && fallback.has_value()) return *fallback;
    require<DataError>(value != nullptr, where_, ": key '", key, "' is missing; expected a positive number");
    const bool good = value->is_number() && std::isfinite(value->get<double>()) && value->get<double>() > 0;
    require<DataError>(good, where_, ": key '", key, "' is ", shown(*value), "; expected a positive number");
    return value->get<double>();
  }

  bool boolean(const std::string& key, bool fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    require<DataError>(value->is_boolean(), where_, ": key '", key, "' is ", shown(*value), "; expected true or false");
    return value->get<bool>();
  }

  // Throws unless the member is missing, null or equal to `supported`.
  void require_only(const std::string& key, const Json& supported) const {
    const Json* value = find(key);
    require<DataError>(value == nullptr || *value == supported, where_, ": ", key, " = ",
                       value == nullptr ? "" : shown(*value), " is not supported; only ", shown(supported), " is");
  }

  void require_absent(const std::string& key) const {
    const Json* value = find(key);
    require<DataError>(value == nullptr, where_, ": ", base::excerpt(key), " = ", value == nullptr ? "" : shown(*value),
                       " is not supported; remove the key only if the model does not depend on it");
  }

  const Json& object() const { return object_; }
  const std::string& where() const { return where_; }

 private:
  const Json& object_;
  std::string where_;
};

// What other models of the family, or other settings of this one, would need.
void refuse_unsupported(const Members& members) {
  const Json* model_type = members.find("model_type");
  require<DataError>(model_type != nullptr, members.where(), ": key 'model_type' is missing; expected \"qwen3\"");
  members.require_only("model_type", "qwen3");
  if (members.contains("architectures")) members.require_only("architectures", Json::array({"Qwen3ForCausalLM"}));
  members.require_only("hidden_act", "silu");
  members.require_only("attention_bias", false);
  members.require_only("use_sliding_window", false);
  members.require_only("partial_rotary_factor", 1.0);
  members.require_only("mlp_bias", false);
  if (const Json* dropout = members.find("attention_dropout")) {
    const bool none = dropout->is_number() && dropout->get<double>() == 0;
    require<DataError>(none, members.where(), ": attention_dropout = ", shown(*dropout),
                       " is not supported; only 0 is");
  }
  for (const char* key : {"quantization_config", "num_experts", "num_local_experts", "num_experts_per_tok",
                          "moe_intermediate_size", "decoder_sparse_step"}) {
    members.require_absent(key);
  }
}

// Members of `rope_parameters` (transformers 5) or `rope_scaling` (transformers 4): only the plain rotation is known.
void check_rope_section(const Members& members, const std::string& section) {
  const Json* value = members.find(section);
  if (value == nullptr) return;
  require<DataError>(value->is_object(), members.where(), ": key '", section, "' is ", shown(*value),
                     "; expected an object");
  const Members rope(*value, members.where() + ": " + section);
  rope.require_only("rope_type", "default");
  rope.require_only("type", "default");
  rope.require_only("partial_rotary_factor", 1.0);
  for (const auto& [key, unused] : value->items()) {
    if (key != "rope_type" && key != "type" && key != "partial_rotary_factor" && key != "rope_theta") {
      rope.require_absent(key);
    }
  }
}

double read_rope_theta(const Members& members) {
  check_rope_section(members, "rope_parameters");
  check_rope_section(members, "rope_scaling");
  std::optional<double> theta;
  const auto take = [&](const Members& owner) {
    if (owner.find("rope_theta") == nullptr) return;
    const double value = owner.positive_number("rope_theta");
    require<DataError>(!theta.has_value() || *theta == value, members.where(), ": rope_theta is both ",
                       theta.value_or(0), " and ", value, "; expected one value");
    theta = value;
  };
  take(members);
  for (const char* section : {"rope_parameters", "rope_scaling"}) {
    if (const Json* value = members.find(section)) take(Members(*value, members.where() + ": " + section));
  }
  require<DataError>(theta.has_value(), members.where(),
                     ": key 'rope_theta' is missing, at the top and in 'rope_parameters'; expected a positive number");
  return *theta;
}

std::string read_dtype(const Members& members) {
  std::string dtype = "float32";
  for (const char* key : {"torch_dtype", "dtype"}) {
    const Json* value = members.find(key);
    if (value == nullptr) continue;
    const bool good = *value == "float32" || *value == "bfloat16" || *value == "float16";
    require<DataError>(good, members.where(), ": ", key, " = ", shown(*value),
                       " is not supported; expected \"float32\", \"bfloat16\" or \"float16\"");
    dtype = value->get<std::string>();
  }
  return dtype;
}

std::vector<int64_t> read_eos_token_ids(const Members& members, int64_t vocab_size) {
  const Json* value = members.find("eos_token_id");
  if (value == nullptr) return {};
  std::vector<int64_t> ids;
  for (const Json& id : value->is_array() ? *value : Json::array({*value})) {
    const bool good = id.is_number_integer() && id >= 0 && id < vocab_size;
    require<DataError>(good, members.where(), ": key 'eos_token_id' is ", shown(*value),
                       "; expected token ids below vocab_size ", vocab_size);
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

void check_layer_types(const Members& members, int64_t num_hidden_layers) {
  const Json* value = members.find("layer_types");
  if (value == nullptr) return;
  const bool good = value->is_array() && value->size() == static_cast<size_t>(num_hidden_layers);
  require<DataError>(good, members.where(), ": key 'layer_types' is ", shown(*value),
                     "; expected one entry for each of ", num_hidden_layers, " layers");
  for (const Json& type : *value) {
    require<DataError>(type == "full_attention", members.where(), ": layer_types holds ", shown(type),
                       ", which is not supported; only \"full_attention\" is");
  }
}

}  // namespace

void describe(base::FieldVisitor& visitor, ModelConfig& config) {
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
  const double layer = attention + 3 * hidden * number(config.intermediate_size) + 2 * hidden + 2 * head_dim;
  const double embedding = number(config.vocab_size) * hidden * (config.tie_word_embeddings ? 1 : 2);
  return embedding + number(config.num_hidden_layers) * layer + hidden;
}

void check(base::ConfigProblems& problems, const ModelConfig& config) {
  problems.require(config.num_attention_heads % config.num_key_value_heads == 0,
                   {"num_key_value_heads", "num_attention_heads"}, "is ", config.num_key_value_heads,
                   "; expected a divisor of num_attention_heads, which is ", config.num_attention_heads);
  problems.require(config.head_dim % 2 == 0, {"head_dim"}, "is ", config.head_dim,
                   "; expected an even number, as the rotary embedding turns pairs");
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

ModelConfig parse_model_config(std::string_view json_text, const std::string& where) {
  const Json json = base::parse_json(json_text, where);
  require<DataError>(json.is_object(), where, ": not a JSON object; expected Hugging Face's config.json");
  const Members members(json, where);
  refuse_unsupported(members);

  ModelConfig config;
  config.vocab_size = members.integer("vocab_size");
  config.hidden_size = members.integer("hidden_size");
  config.intermediate_size = members.integer("intermediate_size");
  config.num_hidden_layers = members.integer("num_hidden_layers");
  config.num_attention_heads = members.integer("num_attention_heads");
  // transformers reads null as "no grouping"; a missing key would mean its default, 32, which is never what was meant.
  if (members.contains("num_key_value_heads") && members.find("num_key_value_heads") == nullptr) {
    config.num_key_value_heads = config.num_attention_heads;
  } else {
    config.num_key_value_heads = members.integer("num_key_value_heads");
  }
  config.head_dim = members.integer("head_dim", 128);
  config.max_position_embeddings = members.integer("max_position_embeddings", 32768);
  config.rms_norm_eps = members.positive_number("rms_norm_eps", 1e-6);
  config.rope_theta = read_rope_theta(members);
  config.initializer_range = members.positive_number("initializer_range", 0.02);
  config.tie_word_embeddings = members.boolean("tie_word_embeddings", false);
  config.dtype = read_dtype(members);
  config.eos_token_ids = read_eos_token_ids(members, config.vocab_size);
  check_layer_types(members, config.num_hidden_layers);
  try {
    base::require_good(config);
  } catch (const base::ConfigError& error) {
    throw DataError(where + ": " + error.what());
  }
  return config;
}

ModelConfig load_model_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  require<base::FileError>(std::filesystem::exists(path), "can't read '", path.string(),
                           "': there is no such file; expected a Hugging Face model folder");
  return parse_model_config(base::read_file(path, kMaxConfigBytes), path.string());
}

std::string to_json(const ModelConfig& config) {
  nlohmann::ordered_json json;
  json["architectures"] = {"Qwen3ForCausalLM"};
  json["model_type"] = "qwen3";
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
  // Version 4 reads the top-level key, version 5 the section.
  json["rope_theta"] = config.rope_theta;
  json["rope_parameters"] = {{"rope_theta", config.rope_theta}, {"rope_type", "default"}};
  json["sliding_window"] = nullptr;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["torch_dtype"] = config.dtype;
  json["use_cache"] = true;
  json["use_sliding_window"] = false;
  json["vocab_size"] = config.vocab_size;
  return json.dump(2) + "\n";
}

}  // namespace rosa::models
