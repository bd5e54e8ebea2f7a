#include "launch/sampling.h"

#include <cmath>

#include "base/error.h"

namespace rosa::launch {
namespace {

using base::concat;
using base::ConfigError;
using base::require;

constexpr int64_t kDefaultNewTokens = 128;
// transformers' own, where the file leaves it out.
constexpr int64_t kTransformersTopK = 50;

template <class Value>
struct Sourced {
  Value value;
  const char* source;
};

template <class Value>
Sourced<Value> first_of(const std::optional<Value>& requested, const std::optional<Value>& of_model, Value otherwise) {
  if (requested) return {*requested, "command line"};
  if (of_model) return {*of_model, "generation_config.json"};
  return {otherwise, "default"};
}

template <class Value>
std::string told(const char* name, const Sourced<Value>& one) {
  return concat(name, " ", one.value, " (", one.source, ")");
}

Sourced<int64_t> new_tokens(const SamplingRequest& request, const models::GenerationConfig& of_model,
                            int64_t prompt_length) {
  std::optional<int64_t> from_file = of_model.max_new_tokens;
  if (!from_file && of_model.max_length) {
    from_file = *of_model.max_length - prompt_length;
    require<ConfigError>(request.max_new_tokens.has_value() || *from_file > 0, "the prompt has ", prompt_length,
                         " tokens and generation_config.json ends texts at max_length ", *of_model.max_length,
                         "; say with -n how many to add");
  }
  return first_of(request.max_new_tokens, from_file, kDefaultNewTokens);
}

void require_effect(const SamplingRequest& request) {
  const auto refuse_if = [](bool wrong, const char* option) {
    require<ConfigError>(!wrong, option,
                         " has no effect where the likeliest token is taken; add --temperature 1 (or "
                         "another above 0), or leave it out");
  };
  refuse_if(request.top_k.value_or(0) != 0, "--top-k");
  refuse_if(request.top_p.value_or(1.0) != 1.0, "--top-p");
  refuse_if(request.min_p.value_or(0.0) != 0.0, "--min-p");
  refuse_if(request.seed.has_value(), "--seed");
}

std::string stop_text(const Sourced<std::vector<int64_t>>& stop) {
  if (stop.value.empty()) return "no end token";
  std::string text = "ends at ";
  for (const int64_t id : stop.value) text += concat(id == stop.value.front() ? "" : ", ", id);
  return concat(text, " (", stop.source, ")");
}

}  // namespace

void check_request(const SamplingRequest& request) {
  const double temperature = request.temperature.value_or(0.0), top_p = request.top_p.value_or(1.0);
  require<ConfigError>(std::isfinite(temperature) && temperature >= 0, "--temperature is ", temperature,
                       "; expected 0 (the likeliest token) or a positive finite number");
  require<ConfigError>(top_p > 0 && top_p <= 1, "--top-p is ", top_p, "; expected a number above 0, at most 1 (all)");
  const double min_p = request.min_p.value_or(0.0), penalty = request.repetition_penalty.value_or(1.0);
  require<ConfigError>(min_p >= 0 && min_p <= 1, "--min-p is ", min_p, "; expected a number from 0 (all) to 1");
  require<ConfigError>(std::isfinite(penalty) && penalty > 0, "--repetition-penalty is ", penalty,
                       "; expected a positive finite number (1: none)");
  const int64_t top_k = request.top_k.value_or(0), seed = request.seed.value_or(0);
  const int64_t num_new = request.max_new_tokens.value_or(1);
  require<ConfigError>(top_k >= 0, "--top-k is ", top_k, "; expected a positive number, or 0 (all)");
  require<ConfigError>(num_new > 0, "--max-new-tokens is ", num_new, "; expected a positive number");
  require<ConfigError>(seed >= 0, "--seed is ", seed, "; expected 0 or more");
}

Sampling resolve_sampling(const SamplingRequest& request, const std::optional<models::GenerationConfig>& file,
                          const std::vector<int64_t>& config_eos, int64_t prompt_length) {
  check_request(request);
  const models::GenerationConfig of_model = file.value_or(models::GenerationConfig());
  // Without do_sample the file's temperature does not count.
  std::optional<double> file_temperature;
  if (of_model.do_sample.value_or(false)) file_temperature = of_model.temperature.value_or(1.0);
  const auto temperature = first_of(request.temperature, file_temperature, 0.0);
  const auto top_k = first_of(request.top_k, of_model.top_k, file ? kTransformersTopK : int64_t{0});
  const auto top_p = first_of(request.top_p, of_model.top_p, 1.0);
  const auto min_p = first_of(request.min_p, of_model.min_p, 0.0);
  const auto penalty = first_of(request.repetition_penalty, of_model.repetition_penalty, 1.0);
  const auto seed = first_of(request.seed, {}, int64_t{0});
  const auto num_new = new_tokens(request, of_model, prompt_length);
  const Sourced<std::vector<int64_t>> stop =
      of_model.eos_token_ids ? Sourced<std::vector<int64_t>>{*of_model.eos_token_ids, "generation_config.json"}
                             : Sourced<std::vector<int64_t>>{config_eos, "config.json"};
  Sampling sampling;
  models::GenerateOptions& options = sampling.options;
  options.max_new_tokens = num_new.value;
  options.stop_tokens = stop.value;
  options.sample = temperature.value > 0;
  if (options.sample) {
    options.temperature = temperature.value;
    options.top_k = top_k.value;
    options.top_p = top_p.value;
    options.min_p = min_p.value;
    options.seed = seed.value;
    sampling.text = concat("samples: ", told("temperature", temperature), ", ", told("top_k", top_k), ", ",
                           told("top_p", top_p), ", ");
    if (min_p.value != 0) sampling.text += told("min_p", min_p) + ", ";
    sampling.text += told("seed", seed);
  } else {
    require_effect(request);
    sampling.text = concat("takes the likeliest token (", temperature.source, ")");
  }
  options.repetition_penalty = penalty.value;
  if (penalty.value != 1) sampling.text += "; " + told("repetition_penalty", penalty);
  sampling.text += concat("; ", told("max_new_tokens", num_new), "; ", stop_text(stop));
  return sampling;
}

}  // namespace rosa::launch
