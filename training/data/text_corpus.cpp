#include "training/data/text_corpus.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"

namespace rosa::training {
namespace {

constexpr int64_t kMaxTextBytes = int64_t{1} << 32;

bool is_space(char symbol) {
  return symbol == ' ' || symbol == '\n' || symbol == '\t' || symbol == '\r' || symbol == '\v' || symbol == '\f';
}

}  // namespace

TextCorpus::TextCorpus(const std::filesystem::path& path, int64_t vocabulary_size)
    : path_(path), text_(base::read_file(path, kMaxTextBytes)), checksum_(base::checksum(text_)) {
  base::require<base::DataError>(!text_.empty(), "'", path.string(), "' is empty, expected a text");
  auto wrong = std::find_if(text_.begin(), text_.end(), [vocabulary_size](char symbol) {
    return static_cast<unsigned char>(symbol) >= vocabulary_size;
  });
  base::require<base::DataError>(wrong == text_.end(), "'", path.string(), "' has byte ",
                                 wrong == text_.end() ? 0 : static_cast<unsigned char>(*wrong), " at offset ",
                                 wrong - text_.begin(), ", expected bytes below data.vocabulary_size, ",
                                 vocabulary_size, "; clean the text or take a vocabulary (and a model) of 256");
}

WordText::WordText(const TextCorpus& corpus) : path_(corpus.path()) {
  text_.reserve(corpus.text().size());
  for (char symbol : corpus.text()) {
    const bool in_word = !text_.empty() && text_.back() != ' ';
    if (!is_space(symbol)) {
      if (!in_word) starts_.push_back(static_cast<int64_t>(text_.size()));
      text_ += symbol;
    } else if (in_word) {
      ends_.push_back(static_cast<int64_t>(text_.size()));
      text_ += ' ';
    }
  }
  if (ends_.size() < starts_.size()) ends_.push_back(static_cast<int64_t>(text_.size()));
  base::require<base::DataError>(!starts_.empty(), "'", path_.string(), "' holds no words");
}

std::string_view WordText::random_words(base::RandomStream& random, int64_t min_length, int64_t max_length) const {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const size_t first = random.below(starts_.size());
    const int64_t start = starts_[first];
    const int64_t target = random.between(min_length, max_length);
    // The last word that ends within the target; where that is too short, the next one.
    auto next = std::upper_bound(ends_.begin() + static_cast<int64_t>(first), ends_.end(), start + target);
    int64_t length = next == ends_.begin() + static_cast<int64_t>(first) ? 0 : *(next - 1) - start;
    if (length < min_length && next != ends_.end()) length = *next - start;
    if (length >= min_length && length <= max_length) {
      return std::string_view(text_).substr(static_cast<size_t>(start), static_cast<size_t>(length));
    }
  }
  throw base::DataError(base::concat("'", path_.string(), "': found no words that make ", min_length, " to ",
                                     max_length,
                                     " bytes together in 1000 attempts; widen data.min_phrase_length and "
                                     "data.max_phrase_length or take another text"));
}

}  // namespace rosa::training
