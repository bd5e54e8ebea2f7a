#include "models/generation_config.h"

#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace rosa::models {
namespace {

using base::DataError;
using Json = nlohmann::json;

constexpr int64_t kMaxBytes = 1 << 20;
constexpr int64_t kMaxCount = int64_t{1} << 40;

// Keys with an effect on the tokens in transformers, and the value with which they have none; null has none either.
const std::map<std::string, Json>& neutral_values() {
  static const std::map<std::string, Json> values = {{"num_beams", 1},
                                                     {"num_return_sequences", 1},
                                                     {"penalty_alpha", 0},
                                                     {"encoder_repetition_penalty", 1},
                                                     {"no_repeat_ngram_size", 0},
                                                     {"min_length", 0},
                                                     {"min_new_tokens", 0},
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

std::optional<double> number_of(const base::JsonFields& fields, const char* key, bool good(double),
                                const char* expected) {
  const std::optional<double> value = fields.number(key);
  if (value && !good(*value)) fields.fail(key, base::concat("is ", *value, ", expected ", expected));
  return value;
}

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
  const auto json = base::parse_json<DataError>(json_text, where);
  const base::JsonFields fields(json, where);
  GenerationConfig config;
  config.do_sample = fields.boolean("do_sample");
  config.temperature = number_of(
      fields, "temperature", [](double value) { return value >= 0; }, "a number that is not negative");
  config.top_p = number_of(
      fields, "top_p", [](double value) { return value > 0 && value <= 1; }, "a number above 0, at most 1");
  config.min_p = number_of(
      fields, "min_p", [](double value) { return value >= 0 && value <= 1; }, "a number from 0 to 1");
  config.repetition_penalty = number_of(
      fields, "repetition_penalty", [](double value) { return value > 0; }, "a number above 0");
  config.top_k = fields.integer("top_k", 0, kMaxCount);
  config.max_new_tokens = fields.integer("max_new_tokens", 1, kMaxCount);
  config.max_length = fields.integer("max_length", 1, kMaxCount);
  if (const auto eos = json.find("eos_token_id"); eos != json.end() && !eos->is_null()) {
    if (!are_token_ids(*eos))
      fields.fail("eos_token_id", "is " + text_of(*eos) + ", expected a token id or a list of them");
    config.eos_token_ids = token_ids(*eos);
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
