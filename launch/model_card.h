// The README.md of an exported model: what it is, how it is loaded, and what it reached beside its controls.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "models/model_config.h"
#include "training/config.h"

namespace rosa::launch {

struct ModelCard {
  const training::RunConfig& config;
  const models::FamilyTraits& family;
  std::filesystem::path run_folder;
  int64_t num_steps_done = 0;  // 0: the adapter is a file, whose steps nobody knows
  bool adapter_only = false;
  bool has_tokenizer = false;
  bool lora_apart = false;  // the low-rank adaptation is in lora/, for PEFT
  std::string dtype;
  const nlohmann::ordered_json* scores = nullptr;  // as `rosa eval -o` writes them; null: none were made
};

// A line begins with it: an export is known by it.
inline constexpr const char* kCardMark = "<!-- rosa export -->";

// Markdown, with the metadata of Hugging Face's hub. Reads RUN/metrics.jsonl where it is. Throws DataError where that
// is damaged.
std::string model_card(const ModelCard& card);

}  // namespace rosa::launch
