#include "training/data/token_file_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "training/data/token_file_format.h"

namespace rosa::training {
namespace {

using base::DataError;
using token_file_format::Header;

constexpr size_t kFlushBytes = 1 << 20;

size_t width_for(int64_t vocabulary_size) {
  base::require(vocabulary_size >= 1 && vocabulary_size <= int64_t{1} << 32, "TokenFileWriter: got a vocabulary of ",
                vocabulary_size, ", expected 1 to 2^32");
  return vocabulary_size <= 1 << 8 ? 1 : vocabulary_size <= 1 << 16 ? 2 : 4;
}

// The beginning of a name, without half a character at its end.
std::string_view cut_name(const std::string& name) {
  size_t size = std::min(name.size(), token_file_format::kNameBytes);
  while (size > 0 && !base::is_utf8(std::string_view(name).substr(0, size))) --size;
  return std::string_view(name).substr(0, size);
}

}  // namespace

TokenFileWriter::TokenFileWriter(const std::filesystem::path& path, int64_t vocabulary_size, TokenFileFacts facts)
    : file_(path),
      path_(path),
      vocabulary_size_(static_cast<uint64_t>(vocabulary_size)),
      token_width_(width_for(vocabulary_size)),
      facts_(std::move(facts)),
      starts_(spill_folder(path)),
      mask_(spill_folder(path)) {
  base::require(!facts_.end_of_text || (*facts_.end_of_text >= 0 && *facts_.end_of_text < vocabulary_size),
                "TokenFileWriter: got end-of-text id ", facts_.end_of_text.value_or(0), ", expected 0 to ",
                vocabulary_size - 1);
  const Header empty{};
  file_.write(std::as_bytes(std::span(&empty, 1)));
  end_document();  // the start of the first
}

void TokenFileWriter::flush() {
  checksum_.update(buffer_);
  file_.write(buffer_);
  buffer_.clear();
}

void TokenFileWriter::end_document() {
  const auto end = static_cast<uint64_t>(num_tokens_);
  starts_.append(std::as_bytes(std::span(&end, 1)));
}

template <class Word>
void TokenFileWriter::append_words(std::span<const int64_t> tokens) {
  constexpr size_t kAtOnce = kFlushBytes / sizeof(Word);
  for (size_t first = 0; first < tokens.size(); first += kAtOnce) {
    const size_t count = std::min(kAtOnce, tokens.size() - first);
    const size_t before = buffer_.size();
    buffer_.resize(before + count * sizeof(Word));
    for (size_t i = 0; i < count; ++i) {
      const auto word = static_cast<Word>(tokens[first + i]);
      std::memcpy(buffer_.data() + before + i * sizeof(Word), &word, sizeof(Word));
    }
    if (buffer_.size() >= kFlushBytes) flush();
  }
}

void TokenFileWriter::append_counts(size_t num_tokens, std::span<const uint8_t> counts) {
  std::vector<std::byte> full;
  for (size_t i = 0; i < num_tokens; ++i) {
    const int bit = static_cast<int>((static_cast<uint64_t>(num_tokens_) + i) % 8);
    if (counts.empty() || counts[i] != 0) mask_byte_ = static_cast<uint8_t>(mask_byte_ | 1U << bit);
    if (bit == 7) full.push_back(static_cast<std::byte>(std::exchange(mask_byte_, 0)));
  }
  mask_.append(full);
}

void TokenFileWriter::add_document(std::span<const int64_t> tokens, std::span<const uint8_t> counts) {
  base::require(counts.empty() || (facts_.has_loss_mask && counts.size() == tokens.size()),
                "TokenFileWriter::add_document: a loss mask of ", counts.size(), " for ", tokens.size(), " tokens");
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (static_cast<uint64_t>(tokens[i]) < vocabulary_size_) continue;
    throw DataError(base::concat("token ", i, " of the document is ", tokens[i], ", expected 0 to ",
                                 vocabulary_size_ - 1, " (the vocabulary size is ", vocabulary_size_,
                                 "; --vocabulary-size gives another)"));
  }
  if (tokens.empty()) return;
  if (token_width_ == 1) {
    append_words<uint8_t>(tokens);
  } else if (token_width_ == 2) {
    append_words<uint16_t>(tokens);
  } else {
    append_words<uint32_t>(tokens);
  }
  if (facts_.has_loss_mask) append_counts(tokens.size(), counts);
  num_tokens_ += static_cast<int64_t>(tokens.size());
  end_document();
}

void TokenFileWriter::add_document(std::string_view bytes) {
  std::vector<int64_t> tokens;
  for (const char byte : bytes) tokens.push_back(static_cast<unsigned char>(byte));
  add_document(tokens);
}

void TokenFileWriter::complete() {
  if (is_complete_) return;
  base::require<DataError>(num_documents() > 0, "'", path_.string(), "': there are no documents to write");
  flush();
  const uint64_t token_bytes = static_cast<uint64_t>(num_tokens_) * token_width_;
  const std::vector<std::byte> zeros(token_file_format::round_up_to_words(token_bytes) - token_bytes);
  file_.write(zeros);
  const auto copy = [this](const Spill& spill) {
    base::ChecksumStream checksum;
    spill.for_each_piece([&](std::span<const std::byte> piece) {
      checksum.update(piece);
      file_.write(piece);
    });
    return checksum.value();
  };
  Header header{};
  std::memcpy(header.start.magic, token_file_format::kMagic, sizeof(token_file_format::kMagic));
  header.start.version = token_file_format::kVersion;
  header.start.token_width = static_cast<uint32_t>(token_width_);
  header.start.vocabulary_size = vocabulary_size_;
  header.start.num_tokens = static_cast<uint64_t>(num_tokens_);
  header.start.num_documents = static_cast<uint64_t>(num_documents());
  header.start.tokens_checksum = checksum_.value();
  header.start.starts_checksum = copy(starts_);
  if (facts_.has_loss_mask) {
    if (num_tokens_ % 8 != 0) mask_.append(std::as_bytes(std::span(&mask_byte_, 1)));
    const std::vector<std::byte> rest(token_file_format::mask_bytes(static_cast<uint64_t>(num_tokens_)) -
                                      static_cast<uint64_t>(mask_.size()));
    mask_.append(rest);
    header.mask_checksum = copy(mask_);
    header.flags |= token_file_format::kHasLossMask;
  }
  header.end_of_text =
      facts_.end_of_text ? static_cast<uint64_t>(*facts_.end_of_text) : token_file_format::kNoEndOfText;
  header.num_text_bytes = static_cast<uint64_t>(facts_.num_text_bytes);
  if (facts_.tokenizer) {
    const std::string_view name = cut_name(facts_.tokenizer->name);
    header.flags |= token_file_format::kHasTokenizer | (facts_.tokenizer->is_bytes ? token_file_format::kIsBytes : 0U);
    header.tokenizer_fingerprint = facts_.tokenizer->fingerprint;
    header.name_size = static_cast<uint32_t>(name.size());
    std::memcpy(header.name, name.data(), name.size());
  }
  header.header_checksum =
      base::checksum(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, header_checksum)));
  file_.write_at(0, std::as_bytes(std::span(&header, 1)));
  is_complete_ = true;
}

void TokenFileWriter::finish() {
  complete();
  file_.commit();
}

}  // namespace rosa::training
