// Making token files: the library side of `rosa data pack`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace rosa::training {

enum class PackFormat {
  text,   // bytes are tokens
  jsonl,  // one document a line, a JSON array of token ids
};

struct PackOptions {
  PackFormat format = PackFormat::text;
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path output;
  int64_t vocabulary_size = 256;
  // text: what stands between documents ("\n\n": blank lines) and belongs to none; empty: one document a file.
  std::string separator;
};

struct PackResult {
  int64_t num_documents = 0, num_tokens = 0, token_width_bytes = 0;
};

// Writes options.output atomically. Throws FileError, and DataError naming file and line or offset where an input does
// not fit; then no output is left.
PackResult pack(const PackOptions& options);

}  // namespace rosa::training
