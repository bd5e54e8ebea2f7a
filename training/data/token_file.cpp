#include "training/data/token_file.h"

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/error.h"
#include "base/printable.h"
#include "training/data/token_file_format.h"

namespace rosa::training {
namespace {

using base::DataError;
using token_file_format::Header;
using token_file_format::HeaderOfVersion1;
using token_file_format::mask_bytes;
using token_file_format::round_up_to_words;
using token_file_format::Start;

template <class... Parts>
[[noreturn]] void fail(const std::filesystem::path& path, const Parts&... parts) {
  throw DataError(base::concat("'", path.string(), "' is no valid token file: ", parts...,
                               "; make it again with `rosa data pack`"));
}

// Copies a header and compares its checksum, which covers all bytes before it.
template <class AnyHeader>
AnyHeader read_sealed(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AnyHeader header;
  if (bytes.size() < sizeof(header)) {
    fail(path, "it has ", bytes.size(), " bytes, fewer than the header's ", sizeof(header));
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  constexpr size_t kSealed = offsetof(AnyHeader, header_checksum);
  if (header.header_checksum != base::checksum(bytes.first(kSealed))) {
    fail(path, "the checksum of its header (offset ", kSealed, ") is wrong");
  }
  return header;
}

// Either version as the newer one; `header_bytes` is the size of what stands in the file.
Header read_header(const std::filesystem::path& path, std::span<const std::byte> bytes, size_t& header_bytes) {
  Start start;
  if (bytes.size() < sizeof(HeaderOfVersion1)) {
    fail(path, "it has ", bytes.size(), " bytes, fewer than the header's ", sizeof(HeaderOfVersion1));
  }
  std::memcpy(&start, bytes.data(), sizeof(start));
  if (std::memcmp(start.magic, token_file_format::kMagic, sizeof(start.magic)) != 0) {
    fail(path, "it does not start with ROSATOK (offset 0)");
  }
  if (start.version == 1) {
    const auto old = read_sealed<HeaderOfVersion1>(path, bytes);
    header_bytes = sizeof(old);
    Header header{};
    header.start = old.start;
    header.end_of_text = token_file_format::kNoEndOfText;
    header.header_checksum = old.header_checksum;
    return header;
  }
  if (start.version != token_file_format::kVersion) {
    fail(path, "it has version ", start.version, " (offset 8), this program reads 1 and ", token_file_format::kVersion);
  }
  header_bytes = sizeof(Header);
  return read_sealed<Header>(path, bytes);
}

void check_header(const std::filesystem::path& path, const Header& header) {
  const Start& start = header.start;
  if (start.token_width != 1 && start.token_width != 2 && start.token_width != 4) {
    fail(path, "tokens are ", start.token_width, " bytes wide (offset 12), expected 1, 2 or 4");
  }
  if (start.vocabulary_size < 1 || start.vocabulary_size > uint64_t{1} << 32) {
    fail(path, "its vocabulary has ", start.vocabulary_size, " entries (offset 16), expected 1 to 2^32");
  }
  if (header.end_of_text != token_file_format::kNoEndOfText && header.end_of_text >= start.vocabulary_size) {
    fail(path, "its end-of-text id is ", header.end_of_text, " (offset ", offsetof(Header, end_of_text),
         "), expected less than its vocabulary size, ", start.vocabulary_size);
  }
  if ((header.flags & ~token_file_format::kAllFlags) != 0) {
    fail(path, "it has flags ", header.flags, " (offset ", offsetof(Header, flags),
         ") that this program does not know");
  }
  if (header.name_size > token_file_format::kNameBytes) {
    fail(path, "the name of its tokenizer has ", header.name_size, " bytes (offset ", offsetof(Header, name_size),
         "), expected at most ", token_file_format::kNameBytes);
  }
  if (header.num_text_bytes > uint64_t{1} << 62) {
    fail(path, "its text has ", header.num_text_bytes, " bytes (offset ", offsetof(Header, num_text_bytes),
         "), which can't be");
  }
}

// The offset of the document starts; sizes are compared by division first, since hostile ones overflow.
uint64_t starts_offset(const std::filesystem::path& path, const Header& header, size_t header_bytes,
                       uint64_t file_bytes) {
  const Start& start = header.start;
  if (start.num_documents < 1 || start.num_documents >= file_bytes / 8 ||
      start.num_tokens > file_bytes / start.token_width) {
    fail(path, "it claims ", start.num_tokens, " tokens (offset 24) in ", start.num_documents,
         " documents (offset 32), but has only ", file_bytes, " bytes (is it truncated?)");
  }
  const uint64_t offset = header_bytes + round_up_to_words(start.num_tokens * start.token_width);
  const uint64_t mask = (header.flags & token_file_format::kHasLossMask) != 0 ? mask_bytes(start.num_tokens) : 0;
  const uint64_t expected = offset + 8 * (start.num_documents + 1) + mask;
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

TokenFileFacts facts_of(const Header& header) {
  TokenFileFacts facts;
  if ((header.flags & token_file_format::kHasTokenizer) != 0) {
    facts.tokenizer = TokenizerMark{.name = base::as_utf8(std::string_view(header.name, header.name_size)),
                                    .fingerprint = header.tokenizer_fingerprint,
                                    .is_bytes = (header.flags & token_file_format::kIsBytes) != 0};
  }
  if (header.end_of_text != token_file_format::kNoEndOfText) {
    facts.end_of_text = static_cast<int64_t>(header.end_of_text);
  }
  facts.num_text_bytes = static_cast<int64_t>(header.num_text_bytes);
  facts.has_loss_mask = (header.flags & token_file_format::kHasLossMask) != 0;
  return facts;
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path) : file_(path) {
  const std::span<const std::byte> bytes = file_.bytes();
  const Header header = read_header(path, bytes, header_bytes_);
  check_header(path, header);
  const uint64_t offset = starts_offset(path, header, header_bytes_, bytes.size());
  const std::span<const std::byte> start_bytes = bytes.subspan(offset, 8 * (header.start.num_documents + 1));
  if (base::checksum(start_bytes) != header.start.starts_checksum) {
    fail(path, "the checksum of its document starts (offset ", offset, ") is wrong");
  }
  // Aligned: the mapping starts at a page and the offset is a multiple of 8.
  document_starts_ = {reinterpret_cast<const uint64_t*>(start_bytes.data()), header.start.num_documents + 1};
  check_starts(path, document_starts_, offset, header.start.num_tokens);
  facts_ = facts_of(header);
  mask_ = bytes.subspan(offset + start_bytes.size());
  if (facts_.has_loss_mask && base::checksum(mask_) != header.mask_checksum) {
    fail(path, "the checksum of its loss mask (offset ", offset + start_bytes.size(), ") is wrong");
  }
  version_ = header.start.version;
  num_tokens_ = static_cast<int64_t>(header.start.num_tokens);
  vocabulary_size_ = static_cast<int64_t>(header.start.vocabulary_size);
  token_width_ = header.start.token_width;
  tokens_checksum_ = header.start.tokens_checksum;
  header_checksum_ = header.header_checksum;
  tokens_ = bytes.subspan(header_bytes_, header.start.num_tokens * header.start.token_width);
}

int64_t TokenFile::document_at(int64_t position) const {
  base::require(position >= 0 && position < num_tokens_, "TokenFile::document_at: got ", position, ", expected 0 to ",
                num_tokens_ - 1);
  auto next = std::upper_bound(document_starts_.begin(), document_starts_.end(), static_cast<uint64_t>(position));
  return next - document_starts_.begin() - 1;
}

bool TokenFile::counts(int64_t position) const {
  base::require(position >= 0 && position < num_tokens_, "TokenFile::counts: got ", position, ", expected 0 to ",
                num_tokens_ - 1);
  if (!facts_.has_loss_mask) return true;
  return (std::to_integer<unsigned>(mask_[static_cast<size_t>(position / 8)]) >> (position % 8) & 1U) != 0;
}

// What was checked when it was opened must still be what is read: somebody may write the file anew in place.
void TokenFile::require_unchanged() const {
  file_.require_same_size();
  uint64_t header_checksum = 0;
  std::memcpy(&header_checksum, file_.bytes().data() + header_bytes_ - sizeof(header_checksum),
              sizeof(header_checksum));
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
           header_bytes_ + (static_cast<size_t>(first) + i) * sizeof(Word), ") is ", int64_t{word},
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
    fail(path(), "the checksum of its tokens (offset ", header_bytes_, " to ", header_bytes_ + tokens_.size(),
         ") is wrong");
  }
}

}  // namespace rosa::training
