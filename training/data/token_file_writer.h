// TokenFileWriter: writes a token file (version 2), document by document. Memory does not grow with their number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "base/file.h"
#include "training/data/spill.h"
#include "training/data/token_file.h"

namespace rosa::training {

class TokenFileWriter {
 public:
  // 1 <= vocabulary_size <= 2^32. What `facts` says goes into the header. Throws FileError, and ArgumentError for an
  // end-of-text id outside the vocabulary.
  TokenFileWriter(const std::filesystem::path& path, int64_t vocabulary_size, TokenFileFacts facts = {});

  // Appends a document; an empty one is left out. Throws DataError for a token outside [0, vocabulary_size).
  // `counts`: beside the tokens, 0 where one does not count in the loss; empty: all count. Needs facts.has_loss_mask.
  void add_document(std::span<const int64_t> tokens, std::span<const uint8_t> counts = {});
  // The same with bytes as tokens.
  void add_document(std::string_view bytes);
  // Bytes of text that the tokens were made of.
  void add_text_bytes(int64_t count) { facts_.num_text_bytes += count; }

  // Writes everything but the file's name; throws DataError if there was no document. finish() does it where it was not
  // done: so that of two files none appears before both are written.
  void complete();
  // The file appears.
  void finish();

  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_documents() const { return starts_.size() / static_cast<int64_t>(sizeof(uint64_t)) - 1; }
  int64_t token_width_bytes() const { return static_cast<int64_t>(token_width_); }

 private:
  template <class Word>
  void append_words(std::span<const int64_t> tokens);
  void append_counts(size_t num_tokens, std::span<const uint8_t> counts);
  void end_document();
  void flush();

  base::AtomicFile file_;
  std::filesystem::path path_;
  uint64_t vocabulary_size_;
  size_t token_width_;
  TokenFileFacts facts_;
  int64_t num_tokens_ = 0;
  std::vector<std::byte> buffer_;
  base::ChecksumStream checksum_;
  Spill starts_, mask_;
  uint8_t mask_byte_ = 0;  // the last, which is not full yet
  bool is_complete_ = false;
};

}  // namespace rosa::training
