// TextCorpus: a text file in memory whose bytes are its tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace rosa::training {

class TextCorpus {
 public:
  // Throws DataError, naming file and offset, for a byte that is not below `vocabulary_size`, and for an empty file.
  TextCorpus(const std::filesystem::path& path, int64_t vocabulary_size);

  const std::string& text() const { return text_; }
  const std::filesystem::path& path() const { return path_; }
  // Of the file's content.
  uint64_t checksum() const { return checksum_; }

 private:
  std::filesystem::path path_;
  std::string text_;
  uint64_t checksum_;
};

// A text as words that are separated by single spaces, whatever white space there was.
class WordText {
 public:
  explicit WordText(const TextCorpus& corpus);

  // A run of whole words, `min_length` to `max_length` bytes long: it starts at a random word and goes on for a random
  // length, rounded to a word's end. Throws DataError if the text seems to have none.
  std::string_view random_words(base::RandomStream& random, int64_t min_length, int64_t max_length) const;

 private:
  std::filesystem::path path_;
  std::string text_;
  std::vector<int64_t> starts_, ends_;
};

}  // namespace rosa::training
