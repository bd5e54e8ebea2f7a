// The bytes of a token file's header, for its reader and its writer only. docs/data.md describes them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace rosa::training::token_file_format {

// Numbers are stored little-endian and read in place.
static_assert(std::endian::native == std::endian::little);

inline constexpr char kMagic[8] = {'R', 'O', 'S', 'A', 'T', 'O', 'K', '\n'};
inline constexpr uint32_t kVersion = 2;
inline constexpr uint64_t kNoEndOfText = ~uint64_t{0};
inline constexpr size_t kNameBytes = 88;

// What is known beside the tokens.
enum Flag : uint32_t {
  kHasTokenizer = 1,  // fingerprint and name count
  kIsBytes = 2,       // the tokens are bytes
  kHasLossMask = 4,
};
inline constexpr uint32_t kAllFlags = kHasTokenizer | kIsBytes | kHasLossMask;

// The first bytes of both versions.
struct Start {
  char magic[8];
  uint32_t version;
  uint32_t token_width;
  uint64_t vocabulary_size;
  uint64_t num_tokens;
  uint64_t num_documents;
  uint64_t tokens_checksum;
  uint64_t starts_checksum;
};
static_assert(sizeof(Start) == 56);

// Followed by the tokens, zeros up to a multiple of 8, and the document starts.
struct HeaderOfVersion1 {
  Start start;
  uint64_t header_checksum;  // of the bytes before it
};
static_assert(sizeof(HeaderOfVersion1) == 64);

// Followed by the same, and the loss mask with zeros up to a multiple of 8.
struct Header {
  Start start;
  uint64_t tokenizer_fingerprint;
  uint64_t end_of_text;  // kNoEndOfText: none is known
  uint64_t num_text_bytes;
  uint64_t mask_checksum;
  uint32_t flags;
  uint32_t name_size;
  char name[kNameBytes];
  uint64_t header_checksum;  // of the bytes before it
};
static_assert(sizeof(Header) == 192 && offsetof(Header, header_checksum) == 184);

inline constexpr uint64_t round_up_to_words(uint64_t bytes) { return (bytes + 7) / 8 * 8; }

// Of the loss mask of so many tokens, with its zeros.
inline constexpr uint64_t mask_bytes(uint64_t num_tokens) { return round_up_to_words((num_tokens + 7) / 8); }

}  // namespace rosa::training::token_file_format
