// Making token files: the library side of `rosa data pack`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace rosa::training {

enum class PackFormat {
  unnamed,  // text, unless an input looks like something else: that is refused with what to do
  text,     // bytes are tokens, whatever they are
  jsonl,    // one document a line: a JSON array of token ids, or an object with such an array as "input_ids"
};

struct PackOptions {
  PackFormat format = PackFormat::unnamed;
  std::vector<std::filesystem::path> inputs;  // files, or pipes such as /dev/stdin, which are read into memory
  std::filesystem::path output;
  int64_t vocabulary_size = 256;
  // text: what stands between documents ("\n\n": blank lines) and belongs to none; empty: one document a file.
  std::string separator;
};

struct PackResult {
  int64_t num_documents = 0, num_tokens = 0, token_width_bytes = 0;
};

// Writes options.output atomically. Throws FileError, ConfigError for options that do not fit each other, and DataError
// naming file and line or offset where an input does not fit; then no output is left. A token file is never an input.
PackResult pack(const PackOptions& options);

}  // namespace rosa::training
