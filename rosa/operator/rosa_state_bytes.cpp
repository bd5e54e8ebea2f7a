// The bytes of a RosaState, little-endian, 8 bytes a number:
//   "ROSASTAT", version, batch, heads, key/value heads, query bits, value bits, size; of every matcher the number of
//   its bytes and these; of every key/value row its value symbols; checksum of all before it.
#include <cstring>
#include <string_view>

#include "base/checksum.h"
#include "base/error.h"
#include "base/saved_bytes.h"
#include "rosa/operator/rosa_state.h"

namespace rosa {
namespace {

constexpr std::string_view kMagic = "ROSASTAT";
constexpr uint64_t kVersion = 1;
constexpr size_t kNumberBytes = base::kSavedNumberBytes;
constexpr const char* kPlace = "RosaState::load: ";
constexpr const char* kDamaged = "; the bytes are damaged or were not written by RosaState::save";

template <class... Parts>
void check(bool condition, const Parts&... parts) {
  base::require<base::DataError>(condition, kPlace, parts..., kDamaged);
}

base::SavedBytesReader reader_of(std::span<const std::byte> bytes) { return {bytes, kPlace, kDamaged}; }

}  // namespace

std::vector<std::byte> RosaState::save() const {
  std::vector<std::byte> bytes;
  for (const char each : kMagic) bytes.push_back(static_cast<std::byte>(each));
  for (const int64_t number :
       {static_cast<int64_t>(kVersion), batch_, heads_, kv_heads_, query_bits_, value_bits_, size_}) {
    base::put_number(bytes, static_cast<uint64_t>(number));
  }
  for (const automaton::StreamingMatcher& matcher : matchers_) {
    const std::vector<std::byte> saved = matcher.save();
    base::put_number(bytes, saved.size());
    bytes.insert(bytes.end(), saved.begin(), saved.end());
  }
  for (const automaton::SymbolSequence& values : values_) {
    for (int32_t i = 0; i < values.size(); ++i) base::put_number(bytes, values[i]);
  }
  base::put_number(bytes, base::checksum(bytes));
  return bytes;
}

RosaState RosaState::load(std::span<const std::byte> bytes) {
  check(bytes.size() > kMagic.size() + kNumberBytes, "got ", bytes.size(), " bytes");
  check(std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0, "the first bytes are not ", kMagic);
  base::SavedBytesReader reader = reader_of(bytes.subspan(kMagic.size()));
  const uint64_t version = reader.number();
  base::require<base::DataError>(version == kVersion, "RosaState::load: got format version ", version, ", expected ",
                                 kVersion, "; save the state anew with this program");
  const auto body = bytes.first(bytes.size() - kNumberBytes);
  check(reader_of(bytes.last(kNumberBytes)).number() == base::checksum(body), "the checksum does not fit");
  const int64_t batch = reader.count("a batch of"), heads = reader.count("heads"), kv_heads = reader.count("kv_heads");
  const int64_t query_bits = reader.count("query bits"), value_bits = reader.count("value bits");
  const int64_t size = reader.count("size");
  check(batch >= 1 && heads >= 1 && kv_heads >= 1 && heads % kv_heads == 0 && query_bits >= 1 && query_bits <= 63 &&
            value_bits >= 1 && value_bits <= 63,
        "got batch ", batch, ", ", heads, " heads on ", kv_heads, ", ", query_bits, " and ", value_bits, " bits");
  // Before anything of that size is made: every matcher, and every value, takes at least so many bytes here.
  constexpr size_t kMatcherBytes = kNumberBytes + automaton::StreamingMatcher::kMinSavedBytes;
  check(batch * heads <= static_cast<int64_t>(reader.num_left() / kMatcherBytes) &&
            (size == 0 || batch * kv_heads <= static_cast<int64_t>(reader.num_left() / kNumberBytes) / size),
        "got ", reader.num_left(), " bytes for ", batch, " x ", heads, " heads of ", size, " symbols");

  RosaState state(batch, heads, kv_heads, query_bits, value_bits);
  state.size_ = size;
  for (automaton::StreamingMatcher& matcher : state.matchers_) {
    matcher = automaton::StreamingMatcher::load(reader.take(reader.number()));
    check(matcher.size() == size, "a head holds ", matcher.size(), " symbols, expected ", size);
  }
  for (automaton::SymbolSequence& values : state.values_) {
    for (int64_t i = 0; i < size; ++i) {
      const uint64_t value = reader.number();
      check(value >> value_bits == 0, "got the value symbol ", value, " of ", value_bits, " bits");
      values.push_back(value);
    }
  }
  check(reader.num_left() == kNumberBytes, "got ", reader.num_left() - kNumberBytes, " bytes too many");
  return state;
}

}  // namespace rosa
