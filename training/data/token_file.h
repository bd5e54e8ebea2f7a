// Token files: the tokens of many documents in one memory-mapped file. docs/data.md describes the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "base/mapped_file.h"

namespace rosa::training {

// What a token file knows of the tokenizer that made its tokens.
struct TokenizerMark {
  std::string name;          // as text::Tokenizer has it, cut after 88 bytes
  uint64_t fingerprint = 0;  // the same
  bool is_bytes = false;     // a byte is a token
};

// That of texts whose bytes are tokens.
inline TokenizerMark mark_of_bytes() { return {.name = "bytes", .fingerprint = 0, .is_bytes = true}; }

// What a token file says of its tokens beside the vocabulary's size.
struct TokenFileFacts {
  std::optional<TokenizerMark> tokenizer = {};
  std::optional<int64_t> end_of_text = {};
  // Of the text that the tokens were made of; 0: unknown.
  int64_t num_text_bytes = 0;
  bool has_loss_mask = false;
};

// Reads a token file of either version. Everything but the tokens themselves is checked when it is opened.
class TokenFile {
 public:
  // Throws FileError if it can't be opened and DataError, naming file and offset, if it is truncated, damaged or
  // hostile.
  explicit TokenFile(const std::filesystem::path& path);

  int64_t version() const { return version_; }
  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_documents() const { return static_cast<int64_t>(document_starts_.size()) - 1; }
  int64_t vocabulary_size() const { return vocabulary_size_; }
  int64_t token_width_bytes() const { return token_width_; }
  // Version 1 knows none of them.
  const TokenFileFacts& facts() const { return facts_; }
  // Of all tokens, as the header has it.
  uint64_t tokens_checksum() const { return tokens_checksum_; }
  // Of header and document starts: tells files apart without reading the tokens.
  uint64_t header_checksum() const { return header_checksum_; }
  const std::filesystem::path& path() const { return file_.path(); }

  // num_documents + 1 ascending positions: document d is [starts[d], starts[d + 1]).
  std::span<const uint64_t> document_starts() const { return document_starts_; }
  // The document that holds the token at `position`.
  int64_t document_at(int64_t position) const;

  // Copies tokens [first, first + output.size()). Throws DataError, naming file and offset, for one that is not below
  // the vocabulary size, and FileError where the file was changed in place.
  void read(int64_t first, std::span<int64_t> output) const;

  // Whether the token at `position` counts in the loss; true where the file has no mask.
  bool counts(int64_t position) const;

  // Reads the whole file and compares. Throws DataError.
  void verify_tokens() const;

 private:
  void require_unchanged() const;
  template <class Word>
  void read_words(int64_t first, std::span<int64_t> output) const;

  base::MappedFile file_;
  int64_t version_ = 0, num_tokens_ = 0, vocabulary_size_ = 0, token_width_ = 0;
  size_t header_bytes_ = 0;
  uint64_t tokens_checksum_ = 0, header_checksum_ = 0;
  TokenFileFacts facts_;
  std::span<const std::byte> tokens_, mask_;
  std::span<const uint64_t> document_starts_;
};

}  // namespace rosa::training
