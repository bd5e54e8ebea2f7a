// The bytes of a StreamingMatcher, little-endian:
//   "ROSAMTCH", version (4), bytes a key (4), document start (8), number of keys (8), match position (4), match length
//   (4), the keys of the current document, FNV-1a checksum of all before it (8).
// Chains and automaton are built anew from the keys: whatever the bytes say, their inner structure is sound.
#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "rosa/automaton/streaming_matcher.h"

namespace rosa::automaton {
namespace {

constexpr std::string_view kMagic = "ROSAMTCH";
constexpr uint64_t kVersion = 1;
constexpr size_t kHeaderBytes = 40;
constexpr size_t kChecksumBytes = 8;

void put(std::vector<std::byte>& bytes, uint64_t value, int num_bytes) {
  for (int i = 0; i < num_bytes; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
}

uint64_t get(std::span<const std::byte> bytes, size_t offset, size_t num_bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < num_bytes; ++i) value |= std::to_integer<uint64_t>(bytes[offset + i]) << (8 * i);
  return value;
}

uint64_t checksum(std::span<const std::byte> bytes) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const std::byte each : bytes) hash = (hash ^ std::to_integer<uint64_t>(each)) * 0x100000001B3u;
  return hash;
}

int bytes_a_key(const std::vector<uint64_t>& keys) {
  uint64_t all_bits = 0;
  for (const uint64_t key : keys) all_bits |= key;
  int num_bytes = 1;
  while (num_bytes < 8 && (all_bits >> (8 * num_bytes)) != 0) ++num_bytes;
  return num_bytes;
}

template <class... Parts>
void check(bool condition, const Parts&... parts) {
  base::require<base::DataError>(condition, "StreamingMatcher::load: ", parts...,
                                 "; the bytes are damaged or were not written by StreamingMatcher::save");
}

// Throws DataError unless the bytes are whole and of our version.
void check_frame(std::span<const std::byte> bytes) {
  check(bytes.size() >= kHeaderBytes + kChecksumBytes, "got ", bytes.size(), " bytes, expected at least ",
        kHeaderBytes + kChecksumBytes);
  check(std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0, "the first bytes are not ", kMagic);
  const uint64_t version = get(bytes, 8, 4);
  base::require<base::DataError>(version == kVersion, "StreamingMatcher::load: got format version ", version,
                                 ", expected ", kVersion, "; save the state anew with this program");
  const size_t end = bytes.size() - kChecksumBytes;
  check(get(bytes, end, kChecksumBytes) == checksum(bytes.first(end)), "the checksum does not fit");
}

}  // namespace

std::vector<std::byte> StreamingMatcher::save() const {
  const int key_bytes = bytes_a_key(keys_);
  std::vector<std::byte> bytes;
  bytes.reserve(kHeaderBytes + keys_.size() * key_bytes + kChecksumBytes);
  for (const char each : kMagic) bytes.push_back(static_cast<std::byte>(each));
  put(bytes, kVersion, 4);
  put(bytes, key_bytes, 4);
  put(bytes, document_start_, 8);
  put(bytes, keys_.size(), 8);
  put(bytes, static_cast<uint32_t>(match_.position), 4);
  put(bytes, static_cast<uint32_t>(match_.length), 4);
  for (const uint64_t key : keys_) put(bytes, key, key_bytes);
  put(bytes, checksum(bytes), kChecksumBytes);
  return bytes;
}

StreamingMatcher StreamingMatcher::load(std::span<const std::byte> bytes) {
  check_frame(bytes);
  const uint64_t key_bytes = get(bytes, 12, 4);
  const uint64_t document_start = get(bytes, 16, 8);
  const uint64_t num_keys = get(bytes, 24, 8);
  const Match match{static_cast<int32_t>(get(bytes, 32, 4)), static_cast<int32_t>(get(bytes, 36, 4))};
  check(key_bytes >= 1 && key_bytes <= 8, "got ", key_bytes, " bytes a key, expected 1 to 8");
  const uint64_t max_size = kMaxSize;
  check(document_start <= max_size && num_keys <= max_size && document_start + num_keys <= max_size, "got ", num_keys,
        " keys after ", document_start, " symbols, expected at most ", max_size, " in all");
  check(bytes.size() == kHeaderBytes + num_keys * key_bytes + kChecksumBytes, "got ", bytes.size(), " bytes for ",
        num_keys, " keys of ", key_bytes, " bytes");
  // The latest query was matched before the latest key was appended.
  const int64_t num_matched = static_cast<int64_t>(num_keys) - 1;
  const bool is_match = match.length > 0 && match.position < num_matched && match.length <= match.position + 1;
  check(is_match || match == Match{}, "got a match of length ", match.length, " at position ", match.position);

  StreamingMatcher matcher;
  matcher.document_start_ = static_cast<int64_t>(document_start);
  matcher.keys_.reserve(num_keys);
  for (uint64_t i = 0; i < num_keys; ++i) matcher.keys_.push_back(get(bytes, kHeaderBytes + i * key_bytes, key_bytes));
  matcher.match_ = match;
  return matcher;
}

}  // namespace rosa::automaton
