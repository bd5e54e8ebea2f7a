#include "rosa/c/stream.h"

#include <cstring>
#include <string_view>

#include "base/checksum.h"
#include "base/error.h"
#include "base/saved_bytes.h"
#include "rosa/c/run_rows.h"

namespace rosa::c {

using automaton::StreamingMatcher;
using base::DataError;
using base::require;

void check_shape(int64_t batch, int64_t heads, int64_t kv_heads, int64_t length) {
  require(batch >= 1 && heads >= 1 && kv_heads >= 1, "got batch ", batch, ", ", heads, " heads and ", kv_heads,
          " key/value heads; expected at least one of each");
  require(heads % kv_heads == 0, "got ", heads, " heads and ", kv_heads, " key/value heads; expected a divisor");
  require(batch <= kMaxSequences / heads, "got batch ", batch, " of ", heads, " heads; expected at most ",
          kMaxSequences, " sequences in all");
  require(length >= 0 && length <= kMaxLength, "got ", length, " positions; expected 0 to ", kMaxLength);
}

void check_value_bits(int32_t value_bits) {
  require(value_bits >= 1 && value_bits <= automaton::kMaxValueBits, "got ", value_bits, " value bits; expected 1 to ",
          automaton::kMaxValueBits);
}

namespace {

// The bytes of a stream, little-endian, 8 bytes a number: "ROSACSTR", version, batch, heads, key/value heads; of every
// matcher the number of its bytes and these; of every batch row its value symbols by head; checksum of all before it.
constexpr std::string_view kMagic = "ROSACSTR";
constexpr uint64_t kVersion = 1;
constexpr size_t kNumberBytes = base::kSavedNumberBytes;

base::SavedBytesReader reader_of(std::span<const std::byte> bytes) { return {bytes, "the saved stream is cut off: "}; }

struct NoWorker {};

}  // namespace
}  // namespace rosa::c

using rosa::automaton::StreamingMatcher;
using rosa::base::DataError;
using rosa::base::require;
namespace c = rosa::c;

rosa_stream::rosa_stream(int64_t batch, int64_t heads, int64_t kv_heads)
    : batch_(batch), heads_(heads), kv_heads_(kv_heads) {
  c::check_shape(batch, heads, kv_heads, 0);
  matchers_.resize(batch * heads);
  values_.resize(batch * kv_heads);
}

void rosa_stream::require_whole() const {
  require(!broken_, "the stream is of no use any more: an append failed half way; free it");
}

std::vector<int64_t> rosa_stream::sizes() const {
  require_whole();
  std::vector<int64_t> sizes(batch_);
  for (int64_t row = 0; row < batch_; ++row) sizes[row] = static_cast<int64_t>(values_[row * kv_heads_].size());
  return sizes;
}

void rosa_stream::append(const Rows& rows, int num_threads) {
  require_whole();
  const int64_t count = rows.count;
  c::check_shape(batch_, heads_, kv_heads_, count);
  for (const int64_t size : sizes()) {
    require(size <= c::kMaxLength - count, "got ", count, " positions for a row of ", size, "; expected at most ",
            c::kMaxLength, " in all");
  }
  if (rows.means != nullptr) {
    c::check_value_bits(rows.value_bits);
    require(value_bits_ == 0 || value_bits_ == rows.value_bits, "got ", rows.value_bits,
            " value bits; expected the stream's ", value_bits_);
    value_bits_ = rows.value_bits;
  }
  const auto is_there = [&](int64_t batch_row, int64_t t) {
    return rows.present == nullptr || rows.present[batch_row * count + t] != 0;
  };
  broken_ = true;  // until all is done
  for (int64_t row = 0; row < batch_ * kv_heads_; ++row) {
    for (int64_t t = 0; t < count; ++t) {
      if (is_there(row / kv_heads_, t)) values_[row].push_back(rows.value[row * count + t]);
    }
  }
  c::run_rows<c::NoWorker>(batch_ * heads_, count, num_threads, [&](int64_t row, c::NoWorker&) {
    const rosa::automaton::SymbolSequence& values = values_[kv_row(row)];
    std::vector<uint32_t> sums(rows.means == nullptr ? 0 : rows.value_bits);
    const uint64_t* query = rows.query + row * count;
    const uint64_t* key = rows.key + kv_row(row) * count;
    StreamingMatcher& matcher = matchers_[row];
    for (int64_t t = 0; t < count; ++t) {
      const bool is_token = is_there(row / heads_, t);
      const rosa::automaton::Match match = is_token ? matcher.append(query[t], key[t]) : rosa::automaton::Match{};
      const int64_t at = row * count + t;
      if (rows.positions != nullptr) rows.positions[at] = match.position;
      if (rows.lengths != nullptr) rows.lengths[at] = match.length;
      // A match ends before the newest token, so the value after it is there already.
      if (rows.retrieved != nullptr) rows.retrieved[at] = match.position >= 0 ? values[match.position + 1] : 0;
      if (rows.means == nullptr) continue;
      const uint32_t num_places = is_token ? matcher.count_places(values, sums) : 0;
      c::write_means<uint32_t>(num_places, sums, rows.means + at * rows.value_bits);
    }
  });
  broken_ = false;
}

void rosa_stream::rewind(std::span<const int64_t> counts) {
  const std::vector<int64_t> all = sizes();
  for (int64_t row = 0; row < batch_; ++row) {
    require(counts[row] >= 0 && counts[row] <= all[row], "got ", counts[row], " tokens to take back from row ", row,
            "; expected 0 to its ", all[row]);
  }
  broken_ = true;
  for (int64_t row = 0; row < batch_ * heads_; ++row) matchers_[row].rewind(counts[row / heads_]);
  for (int64_t row = 0; row < batch_ * kv_heads_; ++row) {
    values_[row].truncate(static_cast<int32_t>(values_[row].size() - counts[row / kv_heads_]));
  }
  broken_ = false;
}

rosa_stream rosa_stream::select(std::span<const int64_t> rows) const {
  require_whole();
  for (const int64_t row : rows) {
    require(row >= 0 && row < batch_, "got row ", row, "; expected 0 to ", batch_ - 1);
  }
  rosa_stream selected(static_cast<int64_t>(rows.size()), heads_, kv_heads_);
  selected.value_bits_ = value_bits_;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t head = 0; head < heads_; ++head)
      selected.matchers_[i * heads_ + head] = matchers_[rows[i] * heads_ + head];
    for (int64_t head = 0; head < kv_heads_; ++head) {
      selected.values_[i * kv_heads_ + head] = values_[rows[i] * kv_heads_ + head];
    }
  }
  return selected;
}

std::vector<std::byte> rosa_stream::save() const {
  require_whole();
  std::vector<std::byte> bytes;
  for (const char each : c::kMagic) bytes.push_back(static_cast<std::byte>(each));
  for (const int64_t number : {static_cast<int64_t>(c::kVersion), batch_, heads_, kv_heads_}) {
    rosa::base::put_number(bytes, static_cast<uint64_t>(number));
  }
  for (const StreamingMatcher& matcher : matchers_) {
    const std::vector<std::byte> saved = matcher.save();
    rosa::base::put_number(bytes, saved.size());
    bytes.insert(bytes.end(), saved.begin(), saved.end());
  }
  for (const rosa::automaton::SymbolSequence& values : values_) {
    for (int32_t i = 0; i < values.size(); ++i) rosa::base::put_number(bytes, values[i]);
  }
  rosa::base::put_number(bytes, rosa::base::checksum(bytes));
  return bytes;
}

rosa_stream rosa_stream::load(std::span<const std::byte> bytes) {
  constexpr size_t kLeast = c::kMagic.size() + 5 * c::kNumberBytes;
  require<DataError>(bytes.size() >= kLeast && std::memcmp(bytes.data(), c::kMagic.data(), c::kMagic.size()) == 0,
                     "the bytes are no saved stream, or cut off");
  rosa::base::SavedBytesReader reader = c::reader_of(bytes.subspan(c::kMagic.size()));
  const uint64_t version = reader.number();
  require<DataError>(version == c::kVersion, "the saved stream has format version ", version, ", expected ",
                     c::kVersion);
  const auto body = bytes.first(bytes.size() - c::kNumberBytes);
  require<DataError>(c::reader_of(bytes.last(c::kNumberBytes)).number() == rosa::base::checksum(body),
                     "the saved stream is damaged: its checksum does not fit");
  uint64_t shape[3];
  for (uint64_t& number : shape) {
    number = reader.number();
    require<DataError>(number >= 1 && number <= c::kMaxSequences, "the saved stream is damaged: it has the size ",
                       number);
  }
  const auto [batch, heads, kv_heads] = shape;
  // Before anything of that size is made: every matcher takes at least so many bytes.
  constexpr size_t kMatcherBytes = c::kNumberBytes + StreamingMatcher::kMinSavedBytes;
  require<DataError>(
      heads % kv_heads == 0 && batch * heads <= reader.num_left() / kMatcherBytes && batch * heads <= c::kMaxSequences,
      "the saved stream is damaged: ", reader.num_left(), " bytes can't hold batch ", batch, " of ", heads,
      " heads on ", kv_heads);
  rosa_stream stream(static_cast<int64_t>(batch), static_cast<int64_t>(heads), static_cast<int64_t>(kv_heads));
  for (int64_t row = 0; row < stream.batch_ * stream.heads_; ++row) {
    StreamingMatcher& matcher = stream.matchers_[row];
    matcher = StreamingMatcher::load(reader.take(reader.number()));
    const int64_t expected = stream.matchers_[row / stream.heads_ * stream.heads_].size();
    require<DataError>(matcher.size() == expected && matcher.document_size() == expected,
                       "the saved stream is damaged: the heads of a row hold ", matcher.size(), " and ", expected,
                       " tokens");
  }
  for (int64_t row = 0; row < stream.batch_ * stream.kv_heads_; ++row) {
    const int64_t size = stream.matchers_[row / stream.kv_heads_ * stream.heads_].size();
    require<DataError>(static_cast<uint64_t>(size) <= reader.num_left() / c::kNumberBytes,
                       "the saved stream is cut off: it lacks values");
    for (int64_t i = 0; i < size; ++i) stream.values_[row].push_back(reader.number());
  }
  require<DataError>(reader.num_left() == c::kNumberBytes, "the saved stream is damaged: it has ",
                     reader.num_left() - c::kNumberBytes, " bytes too many");
  return stream;
}
