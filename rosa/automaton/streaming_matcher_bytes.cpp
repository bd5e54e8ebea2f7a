// The bytes of a StreamingMatcher, little-endian:
//   "ROSAMTCH", version (4), bytes a key (4), document start (8), number of keys (8), number of breaks (8), the keys of
//   the current document, its breaks (time, match position, match length: 4 each), checksum of all before it (8).
// What searches need is built anew from the keys: whatever the bytes say, their inner structure is sound.
#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/checksum.h"
#include "base/error.h"
#include "rosa/automaton/streaming_matcher.h"

namespace rosa::automaton {
namespace {

constexpr std::string_view kMagic = "ROSAMTCH";
constexpr uint64_t kVersion = 2;
constexpr size_t kHeaderBytes = 40;
constexpr size_t kBreakBytes = 12;
constexpr size_t kChecksumBytes = 8;
static_assert(kHeaderBytes + kChecksumBytes == StreamingMatcher::kMinSavedBytes);

void put(std::vector<std::byte>& bytes, uint64_t value, int num_bytes) {
  for (int i = 0; i < num_bytes; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
}

uint64_t get(std::span<const std::byte> bytes, size_t offset, size_t num_bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < num_bytes; ++i) value |= std::to_integer<uint64_t>(bytes[offset + i]) << (8 * i);
  return value;
}

template <class... Parts>
void check(bool condition, const Parts&... parts) {
  base::require<base::DataError>(condition, "StreamingMatcher::load: ", parts...,
                                 "; the bytes are damaged or were not written by StreamingMatcher::save");
}

// Throws DataError unless the bytes are whole and of our version.
void check_frame(std::span<const std::byte> bytes) {
  check(bytes.size() >= StreamingMatcher::kMinSavedBytes, "got ", bytes.size(), " bytes, expected at least ",
        StreamingMatcher::kMinSavedBytes);
  check(std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0, "the first bytes are not ", kMagic);
  const uint64_t version = get(bytes, 8, 4);
  base::require<base::DataError>(version == kVersion, "StreamingMatcher::load: got format version ", version,
                                 ", expected ", kVersion, "; save the state anew with this program");
  const size_t end = bytes.size() - kChecksumBytes;
  check(get(bytes, end, kChecksumBytes) == base::checksum(bytes.first(end)), "the checksum does not fit");
}

}  // namespace

std::vector<std::byte> StreamingMatcher::save() const {
  const int key_bytes = (keys_.num_bits() + 7) / 8;
  std::vector<std::byte> bytes;
  bytes.reserve(kHeaderBytes + static_cast<size_t>(keys_.size()) * key_bytes + breaks_.size() * kBreakBytes +
                kChecksumBytes);
  for (const char each : kMagic) bytes.push_back(static_cast<std::byte>(each));
  put(bytes, kVersion, 4);
  put(bytes, key_bytes, 4);
  put(bytes, document_start_, 8);
  put(bytes, keys_.size(), 8);
  put(bytes, breaks_.size(), 8);
  for (int32_t i = 0; i < keys_.size(); ++i) put(bytes, keys_[i], key_bytes);
  for (size_t i = 0; i < breaks_.size(); ++i) {
    const Break& each = breaks_[i];
    put(bytes, static_cast<uint32_t>(each.time), 4);
    put(bytes, static_cast<uint32_t>(each.match.position), 4);
    put(bytes, static_cast<uint32_t>(each.match.length), 4);
  }
  put(bytes, base::checksum(bytes), kChecksumBytes);
  return bytes;
}

StreamingMatcher StreamingMatcher::load(std::span<const std::byte> bytes) {
  check_frame(bytes);
  const uint64_t key_bytes = get(bytes, 12, 4);
  const uint64_t document_start = get(bytes, 16, 8);
  const uint64_t num_keys = get(bytes, 24, 8);
  const uint64_t num_breaks = get(bytes, 32, 8);
  check(key_bytes >= 1 && key_bytes <= 8, "got ", key_bytes, " bytes a key, expected 1 to 8");
  const uint64_t max_size = kMaxSize;
  check(document_start <= max_size && num_keys <= max_size && document_start + num_keys <= max_size, "got ", num_keys,
        " keys after ", document_start, " symbols, expected at most ", max_size, " in all");
  check(num_breaks <= num_keys && (num_breaks > 0) == (num_keys > 0), "got ", num_breaks, " breaks among ", num_keys,
        " keys");
  check(bytes.size() == kHeaderBytes + num_keys * key_bytes + num_breaks * kBreakBytes + kChecksumBytes, "got ",
        bytes.size(), " bytes for ", num_keys, " keys of ", key_bytes, " bytes and ", num_breaks, " breaks");

  StreamingMatcher matcher;
  matcher.document_start_ = static_cast<int64_t>(document_start);
  for (uint64_t i = 0; i < num_keys; ++i) matcher.keys_.push_back(get(bytes, kHeaderBytes + i * key_bytes, key_bytes));
  matcher.breaks_.reserve(num_breaks);
  for (uint64_t i = 0; i < num_breaks; ++i) {
    const size_t offset = kHeaderBytes + num_keys * key_bytes + i * kBreakBytes;
    const auto field = [&](size_t index) { return static_cast<int32_t>(get(bytes, offset + 4 * index, 4)); };
    const Break each{field(0), {field(1), field(2)}};
    const bool is_in_order =
        i == 0 ? each.time == 0 : each.time > matcher.breaks_.back().time && each.time < matcher.keys_.size();
    check(is_in_order, "break ", i, " is at ", each.time);
    // A match ends before its query, begins inside the document and is at most one longer than the one before it.
    const int32_t limit = each.time == 0 ? 0 : matcher.match_at(each.time - 1).length + 1;
    const bool is_match = each.match.position >= 0 && each.match.position < each.time && each.match.length >= 1 &&
                          each.match.length <= std::min(each.match.position + 1, limit);
    check(is_match || each.match == Match{}, "got a match of length ", each.match.length, " at position ",
          each.match.position);
    matcher.breaks_.push_back(each);
  }
  if (num_keys > 0) matcher.match_ = matcher.match_at(matcher.keys_.size() - 1);
  return matcher;
}

}  // namespace rosa::automaton
