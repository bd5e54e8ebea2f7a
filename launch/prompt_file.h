// Files of prompts, a JSON object a line, and of what they were continued with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launch/chat_format.h"

namespace rosa::launch {

// One of three: a text, ids, or a conversation.
struct FilePrompt {
  std::optional<std::string> text;
  std::vector<int64_t> ids;
  std::vector<ChatMessage> messages;
  std::optional<int64_t> max_new_tokens, seed;  // instead of the command line's
  std::string place;                            // "FILE:LINE"
};

// Lines {"prompt": TEXT}, {"ids": [...]} or {"messages": [{"role": ..., "content": TEXT}, ...]}, each perhaps with
// "max_new_tokens" and "seed"; blank lines do not count. Throws DataError, naming the line, for anything else, and
// where there is no prompt at all.
std::vector<FilePrompt> read_prompts(const std::filesystem::path& path);

// {"text": ..., "ids": [...], "ended_by": ...} with a line end. Without a tokenizer there is no text.
std::string continuation_line(const std::optional<std::string>& text, const std::vector<int64_t>& ids,
                              const std::string& ended_by);

}  // namespace rosa::launch
