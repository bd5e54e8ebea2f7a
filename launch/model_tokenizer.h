// The tokenizer of a model folder, for commands that take or give text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "text/tokenizer.h"

namespace rosa::launch {

// That of FOLDER/tokenizer.json. Where there is none, the bytes, if the model's vocabulary is no larger (the demo's
// models); else nothing. Throws FileError or DataError.
std::unique_ptr<text::Tokenizer> find_model_tokenizer(const std::filesystem::path& folder, int64_t vocab_size);

}  // namespace rosa::launch
