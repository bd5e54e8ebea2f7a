// GenerationConfig: what a model folder says about continuing texts (Hugging Face's generation_config.json), to be
// understood as transformers understands it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rosa::models {

// Nothing where the file has no such key, or null.
struct GenerationConfig {
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  std::optional<int64_t> max_new_tokens;
  std::optional<int64_t> max_length;  // with the prompt; max_new_tokens comes first
  std::optional<std::vector<int64_t>> eos_token_ids;
  // Keys that transformers would act on and this program does not, as "key = value".
  std::vector<std::string> not_implemented;
};

// Parses the text of a generation_config.json. `where` names its origin in messages. Throws DataError, naming the key,
// where a value is mistyped or out of range.
GenerationConfig parse_generation_config(std::string_view json_text, const std::string& where);

// Reads FOLDER/generation_config.json; nothing where there is none. Throws FileError or DataError.
std::optional<GenerationConfig> load_generation_config(const std::filesystem::path& folder);

}  // namespace rosa::models
