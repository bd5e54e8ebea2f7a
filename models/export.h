// Writes models as folders that Hugging Face transformers reads: a plain model, and a student with its adapters.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "models/adapter.h"
#include "models/causal_model.h"

namespace rosa::models {

// Makes the folder if need be and writes config.json and model.safetensors, each atomically, in the weights' dtype.
// Throws FileError.
void export_model(const CausalModel& model, const std::filesystem::path& folder);

struct StudentExport {
  int64_t sliding_window = 128;
  std::vector<int64_t> layer_windows = {};  // of each layer, 0: all; empty: sliding_window
  int64_t sink_tokens = 0;
  std::string dtype;                        // of the base's weights: "float32", "bfloat16" or "float16"
  int64_t max_shard_bytes = 5'000'000'000;  // a tensor that is larger gets a file of its own
  bool merge_low_rank = true;               // of the adapters into the base's weights; else these stay as they are
  std::filesystem::path base_folder;        // whose config.json has token ids that ModelConfig does not know
};

// Writes into an existing folder what AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True) needs:
// config.json, the two Python files, and the weights of base and adapters as model.safetensors or, where they do not
// fit into one file, as shards with model.safetensors.index.json. Adapters stay float32: a symbol is made of signs.
// A low-rank adaptation is added to the weights in float32, which
// are rounded once, to the file's dtype. One shard at a time is in memory. Throws FileError, DataError and ConfigError
// (dtype).
void export_student(const CausalModel& model, const AdapterSet& adapters, const StudentExport& settings,
                    const std::filesystem::path& folder);

// Writes the adapters alone: adapter.safetensors, adapter_config.json, which names the base, and the Python files,
// whose load_adapter() puts both together.
void export_adapter(ModelFamily family, const AdapterSet& adapters, const StudentExport& settings,
                    const std::filesystem::path& folder);

// Writes a low-rank adaptation as PEFT's LoRA: adapter_config.json and adapter_model.safetensors, which
// PeftModel.from_pretrained(model, folder) adds to a model with the base's weights. Makes the folder if need be. Throws
// FileError.
void export_low_rank(const LowRank& low_rank, const std::filesystem::path& folder);

// The name of an exported Python file, "modeling_qwen3_rosa.py". `part`: "configuration" or "modeling".
std::string python_file(std::string_view part, const FamilyTraits& family);

// adapter_form() of the adapters that an exported config.json or adapter_config.json describes. Throws DataError for a
// value of another type.
std::string exported_form(const base::JsonFields& config);

inline constexpr const char* kAdapterConfigFile = "adapter_config.json";

}  // namespace rosa::models
