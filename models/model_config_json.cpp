// Reads Hugging Face's config.json. The other half of model_config.h is model_config.cpp.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/printable.h"
#include "models/model_config.h"

namespace rosa::models {
namespace {

using base::DataError;
using base::require;
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

std::string known_model_types() {
  std::string names;
  for (const ModelFamily family : kFamilies) {
    names += base::concat(names.empty() ? "" : ", ", '"', traits(family).model_type, '"');
  }
  return names;
}

ModelFamily read_family(const Members& members) {
  const Json* model_type = members.find("model_type");
  require<DataError>(model_type != nullptr, members.where(), ": key 'model_type' is missing; expected one of ",
                     known_model_types());
  for (const ModelFamily family : kFamilies) {
    if (*model_type == traits(family).model_type) return family;
  }
  throw DataError(base::concat(members.where(), ": model_type = ", shown(*model_type), " is not supported; only ",
                               known_model_types(), " are"));
}

// What other models, or other settings of these, would need.
void refuse_unsupported(const Members& members, const FamilyTraits& family) {
  if (members.contains("architectures")) {
    members.require_only("architectures", Json::array({base::concat(family.class_prefix, "ForCausalLM")}));
  }
  members.require_only("hidden_act", "silu");
  members.require_only("attention_bias", false);
  members.require_only("use_sliding_window", false);
  members.require_only("partial_rotary_factor", 1.0);
  members.require_only("mlp_bias", false);
  members.require_only("pretraining_tp", 1);
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

struct RopeKeys {
  const char* name;
  RopeType type;
  std::vector<const char*> needed, allowed;  // beside rope_type, rope_theta and partial_rotary_factor
};

const RopeKeys kRopeTypes[] = {
    {"default", RopeType::plain, {}, {}},
    {"linear", RopeType::linear, {"factor"}, {}},
    // Written by some converters, and not looked at by transformers.
    {"dynamic", RopeType::dynamic, {"factor"}, {"original_max_position_embeddings"}},
    {"yarn",
     RopeType::yarn,
     {"factor"},
     {"original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
      "truncate"}},
    {"llama3",
     RopeType::llama3,
     {"factor", "low_freq_factor", "high_freq_factor"},
     {"original_max_position_embeddings"}},
};

std::string known_rope_types() {
  std::string names;
  for (const RopeKeys& each : kRopeTypes) names += base::concat(names.empty() ? "\"" : ", \"", each.name, '"');
  return names;
}

// One object, `rope_parameters` (transformers 5) or `rope_scaling` (transformers 4).
RopeScaling read_rope_section(const Members& rope, int64_t max_position_embeddings) {
  const Json* type = rope.find("rope_type");
  if (type == nullptr) type = rope.find("type");
  const std::string name = type == nullptr ? "default" : type->is_string() ? type->get<std::string>() : "";
  const auto keys = std::find_if(std::begin(kRopeTypes), std::end(kRopeTypes),
                                 [&](const RopeKeys& each) { return name == each.name; });
  require<DataError>(keys != std::end(kRopeTypes), rope.where(), ": rope_type = ", type == nullptr ? "" : shown(*type),
                     " is not supported; only ", known_rope_types(), " are");
  rope.require_only("partial_rotary_factor", 1.0);
  for (const auto& [key, unused] : rope.object().items()) {
    const auto is = [&key = key](const char* other) { return key == other; };
    const bool known = key == "rope_type" || key == "type" || key == "partial_rotary_factor" || key == "rope_theta" ||
                       std::any_of(keys->needed.begin(), keys->needed.end(), is) ||
                       std::any_of(keys->allowed.begin(), keys->allowed.end(), is);
    if (!known) rope.require_absent(key);
  }
  for (const char* key : keys->needed) {
    require<DataError>(rope.find(key) != nullptr, rope.where(), ": key '", key, "' is missing; rope_type \"", name,
                       "\" needs it");
  }
  RopeScaling scaling;
  scaling.type = keys->type;
  if (scaling.type == RopeType::plain) return scaling;
  scaling.factor = rope.positive_number("factor");
  if (scaling.type == RopeType::linear || scaling.type == RopeType::dynamic) return scaling;
  scaling.original_max_position_embeddings = rope.integer("original_max_position_embeddings", max_position_embeddings);
  scaling.low_freq_factor = rope.positive_number("low_freq_factor", scaling.low_freq_factor);
  scaling.high_freq_factor = rope.positive_number("high_freq_factor", scaling.high_freq_factor);
  scaling.beta_fast = rope.positive_number("beta_fast", scaling.beta_fast);
  scaling.beta_slow = rope.positive_number("beta_slow", scaling.beta_slow);
  scaling.truncate = rope.boolean("truncate", true);
  const auto optional = [&](const char* key) -> std::optional<double> {
    return rope.find(key) == nullptr ? std::nullopt : std::optional(rope.positive_number(key));
  };
  scaling.attention_factor = optional("attention_factor");
  scaling.mscale = optional("mscale");
  scaling.mscale_all_dim = optional("mscale_all_dim");
  return scaling;
}

// Version 4 writes `rope_scaling`, null or with a type; version 5 writes `rope_parameters`. Both may be there, if they
// say the same.
RopeScaling read_rope_scaling(const Members& members, int64_t max_position_embeddings) {
  std::optional<RopeScaling> found;
  for (const char* section : {"rope_parameters", "rope_scaling"}) {
    const Json* value = members.find(section);
    if (value == nullptr) continue;
    require<DataError>(value->is_object(), members.where(), ": key '", section, "' is ", shown(*value),
                       "; expected an object");
    const RopeScaling scaling =
        read_rope_section(Members(*value, members.where() + ": " + section), max_position_embeddings);
    require<DataError>(!found.has_value() || *found == scaling, members.where(),
                       ": rope_parameters and rope_scaling differ; expected one of them, or the same in both");
    found = scaling;
  }
  return found.value_or(RopeScaling{});
}

// `fallback`: what transformers takes where there is none.
double read_rope_theta(const Members& members, std::optional<double> fallback) {
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
  if (!theta.has_value()) theta = fallback;
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

ModelConfig parse_model_config(std::string_view json_text, const std::string& where) {
  const Json json = base::parse_json(json_text, where);
  require<DataError>(json.is_object(), where, ": not a JSON object; expected Hugging Face's config.json");
  const Members members(json, where);
  ModelConfig config;
  config.family = read_family(members);
  refuse_unsupported(members, traits(config.family));
  const bool is_qwen3 = config.family == ModelFamily::qwen3;
  const bool is_llama = config.family == ModelFamily::llama;
  config.vocab_size = members.integer("vocab_size");
  config.hidden_size = members.integer("hidden_size");
  config.intermediate_size = members.integer("intermediate_size");
  config.num_hidden_layers = members.integer("num_hidden_layers");
  config.num_attention_heads = members.integer("num_attention_heads");
  // transformers reads null as "no grouping". A missing key means that for Llama; for Qwen it would mean the default,
  // 32, which is never what was meant.
  if (members.find("num_key_value_heads") == nullptr && (is_llama || members.contains("num_key_value_heads"))) {
    config.num_key_value_heads = config.num_attention_heads;
  } else {
    config.num_key_value_heads = members.integer("num_key_value_heads");
  }
  if (!is_qwen3 && members.find("head_dim") == nullptr) {
    require<DataError>(config.hidden_size % config.num_attention_heads == 0, where, ": hidden_size is ",
                       config.hidden_size, " and num_attention_heads is ", config.num_attention_heads,
                       "; expected a multiple of it, or a key 'head_dim'");
  }
  config.head_dim = members.integer(
      "head_dim", is_qwen3 ? 128 : std::max<int64_t>(1, config.hidden_size / config.num_attention_heads));
  config.max_position_embeddings = members.integer("max_position_embeddings", is_llama ? 2048 : 32768);
  config.rms_norm_eps = members.positive_number("rms_norm_eps", 1e-6);
  config.rope_theta = read_rope_theta(members, is_llama ? std::optional(10000.0) : std::nullopt);
  config.rope_scaling = read_rope_scaling(members, config.max_position_embeddings);
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

}  // namespace rosa::models
