#include "training/data/token_file.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace rosa::training {
namespace {

using base::DataError;

// Numbers are stored little-endian and read in place.
static_assert(std::endian::native == std::endian::little);

constexpr char kMagic[8] = {'R', 'O', 'S', 'A', 'T', 'O', 'K', '\n'};
constexpr uint32_t kVersion = 1;
constexpr size_t kFlushBytes = 1 << 20;

// The first bytes of the file. Followed by the tokens, zeros up to a multiple of 8, and the document starts.
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t token_width;
  uint64_t vocabulary_size;
  uint64_t num_tokens;
  uint64_t num_documents;
  uint64_t tokens_checksum;
  uint64_t starts_checksum;
  uint64_t header_checksum;  // of the bytes before it
};
static_assert(sizeof(Header) == 64);

uint64_t checksum_of(const Header& header) {
  return base::checksum(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, header_checksum)));
}

template <class... Parts>
[[noreturn]] void fail(const std::filesystem::path& path, const Parts&... parts) {
  throw DataError(base::concat("'", path.string(), "' is no valid token file: ", parts...,
                               "; make it again with `rosa data pack`"));
}

Header read_header(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  Header header;
  if (bytes.size() < sizeof(header)) {
    fail(path, "it has ", bytes.size(), " bytes, fewer than the header's ", sizeof(header));
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) fail(path, "it does not start with ROSATOK (offset 0)");
  if (header.version != kVersion) {
    fail(path, "it has version ", header.version, " (offset 8), this program reads ", kVersion);
  }
  if (header.header_checksum != checksum_of(header)) fail(path, "the checksum of its header (offset 56) is wrong");
  if (header.token_width != 1 && header.token_width != 2 && header.token_width != 4) {
    fail(path, "tokens are ", header.token_width, " bytes wide (offset 12), expected 1, 2 or 4");
  }
  if (header.vocabulary_size < 1 || header.vocabulary_size > uint64_t{1} << 32) {
    fail(path, "its vocabulary has ", header.vocabulary_size, " entries (offset 16), expected 1 to 2^32");
  }
  return header;
}

uint64_t round_up_to_words(uint64_t bytes) { return (bytes + 7) / 8 * 8; }

// The offset of the document starts; sizes are compared by division first, since hostile ones overflow.
uint64_t starts_offset(const std::filesystem::path& path, const Header& header, uint64_t file_bytes) {
  if (header.num_documents < 1 || header.num_documents >= file_bytes / 8 ||
      header.num_tokens > file_bytes / header.token_width) {
    fail(path, "it claims ", header.num_tokens, " tokens (offset 24) in ", header.num_documents,
         " documents (offset 32), but has only ", file_bytes, " bytes (is it truncated?)");
  }
  const uint64_t offset = sizeof(Header) + round_up_to_words(header.num_tokens * header.token_width);
  const uint64_t expected = offset + 8 * (header.num_documents + 1);
  if (expected != file_bytes) {
    fail(path, "it has ", file_bytes, " bytes, expected ", expected,
         file_bytes < expected ? " (is it truncated?)" : "");
  }
  return offset;
}

void check_starts(const std::filesystem::path& path, std::span<const uint64_t> starts, uint64_t offset,
                  uint64_t num_tokens) {
  for (size_t i = 0; i < starts.size(); ++i) {
    const bool good = i == 0 ? starts[i] == 0 : starts[i] > starts[i - 1] && starts[i] <= num_tokens;
    if (!good) {
      fail(path, "document ", i, " starts at token ", starts[i], " (offset ", offset + 8 * i,
           "), expected ascending starts from 0 to ", num_tokens);
    }
  }
  if (starts.back() != num_tokens) {
    fail(path, "the last document ends at token ", starts.back(), " (offset ", offset + 8 * (starts.size() - 1),
         "), expected ", num_tokens);
  }
}

size_t width_for(int64_t vocabulary_size) {
  base::require(vocabulary_size >= 1 && vocabulary_size <= int64_t{1} << 32, "TokenFileWriter: got a vocabulary of ",
                vocabulary_size, ", expected 1 to 2^32");
  return vocabulary_size <= 1 << 8 ? 1 : vocabulary_size <= 1 << 16 ? 2 : 4;
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path) : file_(path) {
  const std::span<const std::byte> bytes = file_.bytes();
  const Header header = read_header(path, bytes);
  const uint64_t offset = starts_offset(path, header, bytes.size());
  const std::span<const std::byte> start_bytes = bytes.subspan(offset);
  if (base::checksum(start_bytes) != header.starts_checksum) {
    fail(path, "the checksum of its document starts (offset ", offset, ") is wrong");
  }
  // Aligned: the mapping starts at a page and the offset is a multiple of 8.
  document_starts_ = {reinterpret_cast<const uint64_t*>(start_bytes.data()), header.num_documents + 1};
  check_starts(path, document_starts_, offset, header.num_tokens);
  num_tokens_ = static_cast<int64_t>(header.num_tokens);
  vocabulary_size_ = static_cast<int64_t>(header.vocabulary_size);
  token_width_ = header.token_width;
  tokens_checksum_ = header.tokens_checksum;
  header_checksum_ = header.header_checksum;
  tokens_ = bytes.subspan(sizeof(Header), header.num_tokens * header.token_width);
}

int64_t TokenFile::document_at(int64_t position) const {
  base::require(position >= 0 && position < num_tokens_, "TokenFile::document_at: got ", position, ", expected 0 to ",
                num_tokens_ - 1);
  auto next = std::upper_bound(document_starts_.begin(), document_starts_.end(), static_cast<uint64_t>(position));
  return next - document_starts_.begin() - 1;
}

// What was checked when it was opened must still be what is read: somebody may write the file anew in place.
void TokenFile::require_unchanged() const {
  file_.require_same_size();
  uint64_t header_checksum = 0;
  std::memcpy(&header_checksum, file_.bytes().data() + offsetof(Header, header_checksum), sizeof(header_checksum));
  base::require<base::FileError>(header_checksum == header_checksum_, "'", path().string(),
                                 "' was written anew while it was in use; write a new version beside it and rename "
                                 "it, then start again");
}

template <class Word>
void TokenFile::read_words(int64_t first, std::span<int64_t> output) const {
  const std::byte* source = tokens_.data() + static_cast<size_t>(first) * sizeof(Word);
  for (size_t i = 0; i < output.size(); ++i) {
    Word word;
    std::memcpy(&word, source + i * sizeof(Word), sizeof(Word));
    if (static_cast<int64_t>(word) >= vocabulary_size_) {
      fail(path(), "token ", first + static_cast<int64_t>(i), " (offset ",
           sizeof(Header) + (static_cast<size_t>(first) + i) * sizeof(Word), ") is ", int64_t{word},
           ", expected less than its vocabulary size, ", vocabulary_size_);
    }
    output[i] = word;
  }
}

void TokenFile::read(int64_t first, std::span<int64_t> output) const {
  base::require(first >= 0 && static_cast<int64_t>(output.size()) <= num_tokens_ - first,
                "TokenFile::read: got tokens ", first, " and ", output.size(), " from it on, expected at most ",
                num_tokens_);
  require_unchanged();
  if (token_width_ == 1) {
    read_words<uint8_t>(first, output);
  } else if (token_width_ == 2) {
    read_words<uint16_t>(first, output);
  } else {
    read_words<uint32_t>(first, output);
  }
}

void TokenFile::verify_tokens() const {
  if (base::checksum(tokens_) != tokens_checksum_) {
    fail(path(), "the checksum of its tokens (offset ", sizeof(Header), " to ", sizeof(Header) + tokens_.size(),
         ") is wrong");
  }
}

TokenFileWriter::TokenFileWriter(const std::filesystem::path& path, int64_t vocabulary_size)
    : file_(path),
      path_(path),
      vocabulary_size_(static_cast<uint64_t>(vocabulary_size)),
      token_width_(width_for(vocabulary_size)) {
  const Header empty{};
  file_.write(std::as_bytes(std::span(&empty, 1)));
}

void TokenFileWriter::append(uint64_t token) {
  for (size_t i = 0; i < token_width_; ++i) buffer_.push_back(static_cast<std::byte>(token >> (8 * i)));
  ++num_tokens_;
  if (buffer_.size() >= kFlushBytes) flush();
}

void TokenFileWriter::flush() {
  checksum_.update(buffer_);
  file_.write(buffer_);
  buffer_.clear();
}

void TokenFileWriter::add_document(std::span<const int64_t> tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    base::require<DataError>(tokens[i] >= 0 && static_cast<uint64_t>(tokens[i]) < vocabulary_size_, "token ", i,
                             " of the document is ", tokens[i], ", expected 0 to ", vocabulary_size_ - 1,
                             " (the vocabulary size is ", vocabulary_size_, "; --vocabulary-size gives another)");
    append(static_cast<uint64_t>(tokens[i]));
  }
  if (!tokens.empty()) document_starts_.push_back(static_cast<uint64_t>(num_tokens_));
}

void TokenFileWriter::add_document(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto token = static_cast<unsigned char>(bytes[i]);
    base::require<DataError>(token < vocabulary_size_, "byte ", i, " of the document is ", int{token},
                             ", expected less than the vocabulary size, ", vocabulary_size_);
    append(token);
  }
  if (!bytes.empty()) document_starts_.push_back(static_cast<uint64_t>(num_tokens_));
}

void TokenFileWriter::finish() {
  base::require<DataError>(num_documents() > 0, "'", path_.string(), "': there are no documents to write");
  flush();
  const uint64_t token_bytes = static_cast<uint64_t>(num_tokens_) * token_width_;
  const std::vector<std::byte> zeros(round_up_to_words(token_bytes) - token_bytes);
  file_.write(zeros);
  const auto starts = std::as_bytes(std::span(document_starts_));
  file_.write(starts);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.token_width = static_cast<uint32_t>(token_width_);
  header.vocabulary_size = vocabulary_size_;
  header.num_tokens = static_cast<uint64_t>(num_tokens_);
  header.num_documents = static_cast<uint64_t>(num_documents());
  header.tokens_checksum = checksum_.value();
  header.starts_checksum = base::checksum(starts);
  header.header_checksum = checksum_of(header);
  file_.write_at(0, std::as_bytes(std::span(&header, 1)));
  file_.commit();
}

}  // namespace rosa::training
