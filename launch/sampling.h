// How `rosa generate` chooses tokens: what the command line says, before what the model folder says
// (generation_config.json), before defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/generation_config.h"
#include "models/token_choice.h"

namespace rosa::launch {

// What was given on the command line.
struct SamplingRequest {
  std::optional<int64_t> max_new_tokens = {}, top_k = {}, seed = {};
  std::optional<double> temperature = {}, top_p = {};  // temperature 0: the likeliest token
  std::optional<double> min_p = {}, repetition_penalty = {};
};

// Throws ConfigError for what no model could make right: values out of range or not finite.
void check_request(const SamplingRequest& request);

struct Sampling {
  models::GenerateOptions options;
  std::string text;  // what counts and where each comes from, on one line
};

// As transformers does where the model folder has a generation_config.json; `config_eos` are the end tokens of
// config.json, for a folder that names no others. Throws ConfigError where the request is wrong, where an option of it
// has no effect, and where no token may follow the prompt.
Sampling resolve_sampling(const SamplingRequest& request, const std::optional<models::GenerationConfig>& of_model,
                          const std::vector<int64_t>& config_eos, int64_t prompt_length);

}  // namespace rosa::launch
