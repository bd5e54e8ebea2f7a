#include "models/generation_config.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/file.h"

namespace rosa::models {
namespace {

using base::DataError;
using base::require;
using Json = nlohmann::json;

constexpr int64_t kMaxBytes = 1 << 20;
constexpr int64_t kMaxCount = int64_t{1} << 40;
constexpr int kMaxDepth = 8;

// Keys with an effect on the tokens in transformers, and the value with which they have none; null has none either.
const std::map<std::string, Json>& neutral_values() {
  static const std::map<std::string, Json> values = {{"num_beams", 1},
                                                     {"num_return_sequences", 1},
                                                     {"penalty_alpha", 0},
                                                     {"repetition_penalty", 1},
                                                     {"encoder_repetition_penalty", 1},
                                                     {"no_repeat_ngram_size", 0},
                                                     {"min_length", 0},
                                                     {"min_new_tokens", 0},
                                                     {"min_p", 0},
                                                     {"top_h", nullptr},
                                                     {"typical_p", 1},
                                                     {"epsilon_cutoff", 0},
                                                     {"eta_cutoff", 0},
                                                     {"stop_strings", nullptr},
                                                     {"max_time", nullptr},
                                                     {"bad_words_ids", nullptr},
                                                     {"sequence_bias", nullptr},
                                                     {"suppress_tokens", nullptr},
                                                     {"begin_suppress_tokens", nullptr},
                                                     {"forced_bos_token_id", nullptr},
                                                     {"forced_eos_token_id", nullptr},
                                                     {"exponential_decay_length_penalty", nullptr},
                                                     {"guidance_scale", 1},
                                                     {"watermarking_config", nullptr}};
  return values;
}

// On one line, whatever bytes are in it.
std::string text_of(const Json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

class Keys {
 public:
  Keys(const Json& object, const std::string& where) : object_(object), where_(where) {}

  template <class Good>
  const Json* find(const char* key, const char* expected, Good good) const {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return nullptr;
    require<DataError>(good(*found), where_, ": key '", key, "' is ", text_of(*found), "; expected ", expected);
    return &*found;
  }
  std::optional<int64_t> count(const char* key, int64_t min) const {
    const Json* value = find(key, "a whole number that is not negative", [min](const Json& one) {
      return one.is_number_integer() && one >= min && one <= kMaxCount;
    });
    return value == nullptr ? std::nullopt : std::optional(value->get<int64_t>());
  }
  std::optional<double> number(const char* key, const char* expected, double max) const {
    const Json* value = find(key, expected, [max](const Json& one) {
      return one.is_number() && std::isfinite(one.get<double>()) && one.get<double>() >= 0 && one.get<double>() <= max;
    });
    return value == nullptr ? std::nullopt : std::optional(value->get<double>());
  }

 private:
  const Json& object_;
  const std::string& where_;
};

std::vector<int64_t> token_ids(const Json& value) {
  std::vector<int64_t> ids;
  for (const Json& id : value.is_array() ? value : Json::array({value})) ids.push_back(id.get<int64_t>());
  return ids;
}

bool are_token_ids(const Json& value) {
  if (!value.is_array()) return value.is_number_integer() && value >= 0 && value <= kMaxCount;
  for (const Json& id : value) {
    if (id.is_array() || !are_token_ids(id)) return false;
  }
  return true;
}

}  // namespace

GenerationConfig parse_generation_config(std::string_view json_text, const std::string& where) {
  Json json;
  try {
    json = Json::parse(json_text.begin(), json_text.end(), [&where](int depth, Json::parse_event_t, const Json&) {
      require<DataError>(depth <= kMaxDepth, where, ": nested more than ", kMaxDepth, " deep");
      return true;
    });
  } catch (const Json::exception& error) {
    throw DataError(base::concat(where, ": not JSON: ", error.what()));
  }
  require<DataError>(json.is_object(), where, ": not a JSON object; expected Hugging Face's generation_config.json");
  const Keys keys(json, where);
  GenerationConfig config;
  if (const Json* value = keys.find("do_sample", "true or false", [](const Json& one) { return one.is_boolean(); })) {
    config.do_sample = value->get<bool>();
  }
  config.temperature = keys.number("temperature", "a number that is not negative", HUGE_VAL);
  config.top_p = keys.number("top_p", "a number above 0, at most 1", 1.0);
  require<DataError>(config.top_p != 0.0, where, ": key 'top_p' is 0; expected a number above 0, at most 1");
  config.top_k = keys.count("top_k", 0);
  config.max_new_tokens = keys.count("max_new_tokens", 1);
  config.max_length = keys.count("max_length", 1);
  if (const Json* value = keys.find("eos_token_id", "a token id or a list of them", are_token_ids)) {
    config.eos_token_ids = token_ids(*value);
  }
  for (const auto& [key, neutral] : neutral_values()) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null() || *found == neutral) continue;
    config.not_implemented.push_back(key + " = " + text_of(*found));
  }
  return config;
}

std::optional<GenerationConfig> load_generation_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  return parse_generation_config(base::read_file(path, kMaxBytes), path.string());
}

}  // namespace rosa::models
