// Token files: the tokens of many documents in one memory-mapped file. docs/data.md describes the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/file.h"
#include "base/mapped_file.h"

namespace rosa::training {

// Reads a token file. Everything but the tokens themselves is checked when it is opened.
class TokenFile {
 public:
  // Throws FileError if it can't be opened and DataError, naming file and offset, if it is truncated, damaged or
  // hostile.
  explicit TokenFile(const std::filesystem::path& path);

  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_documents() const { return static_cast<int64_t>(document_starts_.size()) - 1; }
  int64_t vocabulary_size() const { return vocabulary_size_; }
  int64_t token_width_bytes() const { return token_width_; }
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

  // Reads the whole file and compares. Throws DataError.
  void verify_tokens() const;

 private:
  void require_unchanged() const;
  template <class Word>
  void read_words(int64_t first, std::span<int64_t> output) const;

  base::MappedFile file_;
  int64_t num_tokens_ = 0, vocabulary_size_ = 0, token_width_ = 0;
  uint64_t tokens_checksum_ = 0, header_checksum_ = 0;
  std::span<const std::byte> tokens_;
  std::span<const uint64_t> document_starts_;
};

// Writes a token file, document by document; the file appears, complete, with finish().
class TokenFileWriter {
 public:
  // 1 <= vocabulary_size <= 2^32. Throws FileError.
  TokenFileWriter(const std::filesystem::path& path, int64_t vocabulary_size);

  // Appends a document; an empty one is left out. Throws DataError for a token outside [0, vocabulary_size).
  void add_document(std::span<const int64_t> tokens);
  // The same with bytes as tokens.
  void add_document(std::string_view bytes);

  // Throws DataError if there was no document.
  void finish();

  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_documents() const { return static_cast<int64_t>(document_starts_.size()) - 1; }
  int64_t token_width_bytes() const { return static_cast<int64_t>(token_width_); }

 private:
  void append(uint64_t token);
  void flush();

  base::AtomicFile file_;
  std::filesystem::path path_;
  uint64_t vocabulary_size_;
  size_t token_width_;
  int64_t num_tokens_ = 0;
  std::vector<uint64_t> document_starts_ = {0};
  std::vector<std::byte> buffer_;
  base::ChecksumStream checksum_;
};

}  // namespace rosa::training
