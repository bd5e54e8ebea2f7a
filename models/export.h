// Writes a Qwen3 as a folder that Hugging Face transformers and Qwen3::load read.
#pragma once

#include <filesystem>

#include "models/qwen3.h"

namespace rosa::models {

// Makes the folder if need be and writes config.json and model.safetensors, each atomically, in the weights' dtype.
// Throws FileError.
void export_qwen3(const Qwen3& model, const std::filesystem::path& folder);

}  // namespace rosa::models
