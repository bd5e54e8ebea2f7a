// A text that `rosa generate --session FILE` goes on with: its tokens and all that the model keeps of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/generator.h"

namespace rosa::launch {

// Whose text it is, in words and by fingerprint.
struct SessionOwner {
  std::string weights;       // "runs/mine, step 200"
  std::string variant;       // rosa, window or teacher
  std::string tokenizer;     // its name; empty: none was needed
  uint64_t fingerprint = 0;  // of the tokenizer
};

struct TextSession {
  std::vector<int64_t> tokens;  // the generator holds all of them, or all but the last
  models::Generator generator;
};

// Nothing where there is no such file, or an empty one. Throws ConfigError, naming both, where the session belongs to
// another model, checkpoint, variant or tokenizer, and DataError where the file is damaged or none of a session.
std::optional<TextSession> load_session(const std::filesystem::path& path, const SessionOwner& owner,
                                        const models::CausalModel& model, const models::ForwardOptions& options);

// Writes it, atomically. Throws FileError.
void save_session(const std::filesystem::path& path, const SessionOwner& owner, const std::vector<int64_t>& tokens,
                  const models::Generator& generator);

}  // namespace rosa::launch
