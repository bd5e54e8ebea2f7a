#include "rosa/automaton/matcher.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "rosa/automaton/statistics_pass.h"
#include "rosa/automaton/streaming_matcher.h"

namespace rosa::automaton {
namespace {

constexpr size_t kMaxSize = size_t{1} << 30;
// What the byte matcher's tables can number.
constexpr int32_t kMaxByteDocument = (int32_t{1} << 21) - 2;

void check_spans(size_t num_queries, size_t num_keys, std::span<int32_t> positions, std::span<int32_t> lengths,
                 std::span<const int32_t> document_starts, const MatchStatistics* statistics) {
  base::require(num_queries == num_keys && num_queries == positions.size(),
                "Matcher: query, key and positions differ in length: ", num_queries, ", ", num_keys, ", ",
                positions.size());
  base::require(lengths.empty() || lengths.size() == num_queries, "Matcher: got ", lengths.size(),
                " lengths, expected none or ", num_queries);
  base::require(statistics == nullptr || lengths.size() == num_queries,
                "Matcher: got no lengths, expected them where statistics are wanted");
  base::require(num_queries <= kMaxSize, "Matcher: got ", num_queries, " symbols, expected at most ", kMaxSize);
  for (size_t i = 0; i < document_starts.size(); ++i) {
    const int64_t start = document_starts[i];
    const bool fits = i == 0 ? start == 0 : start > document_starts[i - 1] && start < static_cast<int64_t>(num_keys);
    base::require(fits, "Matcher: document ", i, " starts at ", start,
                  "; expected ascending positions from 0, all inside the sequence of ", num_keys);
  }
}

// Calls visit(first, end) for each document.
template <class Visit>
void for_each_document(size_t size, std::span<const int32_t> document_starts, const Visit& visit) {
  if (document_starts.empty()) return visit(size_t{0}, size);
  for (size_t i = 0; i < document_starts.size(); ++i) {
    const size_t end = i + 1 < document_starts.size() ? document_starts[i + 1] : size;
    visit(static_cast<size_t>(document_starts[i]), end);
  }
}

// The smallest number of bits, of those the byte matcher knows, that holds every symbol.
int32_t bits_of(const uint8_t* query, const uint8_t* key, int32_t size) {
  unsigned all = 0;
  for (int32_t i = 0; i < size; ++i) all |= static_cast<unsigned>(query[i] | key[i]);
  return all < 2 ? 1 : all < 4 ? 2 : all < 16 ? 4 : 8;
}

// Numbers the different keys, in an open-addressing table, up to 255 of them.
class KeyNumbers {
 public:
  static constexpr int32_t kMaxKeys = 255;  // one number is left for queries that are no key

  // Returns the number of a key, which is new or not; kMaxKeys where there are too many.
  int32_t add(uint64_t key) {
    const uint32_t slot = find(key);
    if (numbers_[slot] == kFree && num_keys_ < kMaxKeys) {
      keys_[slot] = key;
      numbers_[slot] = num_keys_++;
    }
    return numbers_[slot] == kFree ? kMaxKeys : numbers_[slot];
  }

  // Returns the number of a key; kMaxKeys if it is none.
  int32_t number_of(uint64_t symbol) const {
    const int32_t number = numbers_[find(symbol)];
    return number == kFree ? kMaxKeys : number;
  }

 private:
  static constexpr uint32_t kNumSlots = 1024;
  static constexpr int32_t kFree = -1;

  uint32_t find(uint64_t key) const {
    auto slot = static_cast<uint32_t>((key * 0x9E3779B97F4A7C15u) >> 54);
    while (numbers_[slot] != kFree && keys_[slot] != key) slot = (slot + 1) % kNumSlots;
    return slot;
  }

  std::array<uint64_t, kNumSlots> keys_{};
  std::array<int32_t, kNumSlots> numbers_ = [] {
    std::array<int32_t, kNumSlots> free{};
    free.fill(kFree);
    return free;
  }();
  int32_t num_keys_ = 0;
};

// Writes byte symbols with the same matches. Returns false where the document has too many different keys for that.
bool narrow(std::span<const uint8_t> query, std::span<const uint8_t> key, uint8_t* narrow_query, uint8_t* narrow_key) {
  std::copy(query.begin(), query.end(), narrow_query);
  std::copy(key.begin(), key.end(), narrow_key);
  return true;
}

bool narrow(std::span<const uint64_t> query, std::span<const uint64_t> key, uint8_t* narrow_query,
            uint8_t* narrow_key) {
  uint64_t all = 0;
  for (size_t i = 0; i < query.size(); ++i) all |= query[i] | key[i];
  if (all < 256) {
    std::copy(query.begin(), query.end(), narrow_query);
    std::copy(key.begin(), key.end(), narrow_key);
    return true;
  }
  KeyNumbers numbers;
  for (size_t i = 0; i < key.size(); ++i) {
    const int32_t number = numbers.add(key[i]);
    if (number == KeyNumbers::kMaxKeys) return false;
    narrow_key[i] = static_cast<uint8_t>(number);
  }
  for (size_t i = 0; i < query.size(); ++i) narrow_query[i] = static_cast<uint8_t>(numbers.number_of(query[i]));
  return true;
}

// The way for large alphabets.
template <class Symbol>
void match_streaming(std::span<const Symbol> query, std::span<const Symbol> key, int32_t first, int32_t* positions,
                     int32_t* lengths) {
  StreamingMatcher stream;
  for (size_t t = 0; t < query.size(); ++t) {
    const Match match = stream.append(query[t], key[t]);
    positions[t] = match.length > 0 ? match.position + first : -1;
    if (lengths != nullptr) lengths[t] = match.length;
  }
}

}  // namespace

Matcher::Matcher(CpuLevel level) : code_(&matcher_code(level)) {}

template <class Symbol>
void Matcher::add_to(MatchStatistics* statistics, std::span<const Symbol> query, std::span<const Symbol> key,
                     std::span<const int32_t> lengths) const {
  if (statistics == nullptr) return;
  if constexpr (sizeof(Symbol) == 1) {
    code_->add_statistics(query, key, lengths, *statistics);
  } else {
    add_statistics<Matcher>(query, key, lengths, *statistics);
  }
}

template <class Symbol>
void Matcher::match(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
                    std::span<int32_t> lengths, std::span<const int32_t> document_starts, MatchStatistics* statistics) {
  check_spans(query.size(), key.size(), positions, lengths, document_starts, statistics);
  for_each_document(query.size(), document_starts, [&](size_t first, size_t end) {
    match_document(query.subspan(first, end - first), key.subspan(first, end - first), static_cast<int32_t>(first),
                   positions.data() + first, lengths.empty() ? nullptr : lengths.data() + first);
  });
  add_to(statistics, query, key, lengths);
}

template <class Symbol>
void Matcher::match_document(std::span<const Symbol> query, std::span<const Symbol> key, int32_t first,
                             int32_t* positions, int32_t* lengths) {
  const auto size = static_cast<int32_t>(query.size());
  if (size == 0) return;
  if (size > kMaxByteDocument) return match_streaming(query, key, first, positions, lengths);
  // The padding is read as part of whole vectors; zeros before the symbols are also the contexts' padding.
  const size_t padded = query.size() + 2 * kPadding;
  workspace_.reserve(2 * (padded + Workspace::kAlignment) + byte_matching_workspace(size));
  uint8_t* narrow_query = workspace_.take_items<uint8_t>(padded);
  uint8_t* narrow_key = workspace_.take_items<uint8_t>(padded);
  for (uint8_t* symbols : {narrow_query, narrow_key}) {
    std::memset(symbols, 0, kPadding);
    std::memset(symbols + kPadding + size, 0, kPadding);
  }
  narrow_query += kPadding;
  narrow_key += kPadding;
  if (!narrow(query, key, narrow_query, narrow_key)) return match_streaming(query, key, first, positions, lengths);
  const ByteDocument document{narrow_query, narrow_key, size,   bits_of(narrow_query, narrow_key, size),
                              first,        positions,  lengths};
  code_->match_bytes(document, workspace_, work_);
}

template <class Symbol>
void Matcher::match_masked(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
                           std::span<int32_t> lengths, std::span<const int32_t> document_starts, const bool* mask,
                           int64_t row_stride, MatchStatistics* statistics) {
  check_spans(query.size(), key.size(), positions, lengths, document_starts, statistics);
  const auto size = static_cast<int64_t>(query.size());
  base::require(size == 0 || (mask != nullptr && row_stride >= size), "Matcher: got a mask with row stride ",
                row_stride, ", expected at least ", size);
  std::vector<int32_t> row;  // row[i - first] = match length of (t, i)
  for_each_document(query.size(), document_starts, [&](size_t first, size_t end) {
    row.assign(end - first, 0);
    for (size_t t = first; t < end; ++t) {
      int32_t best = 0;
      int32_t position = -1;
      // Downwards: row[i - 1] is still that of t - 1, and the first of equal lengths is the latest.
      for (size_t i = t; i-- > first;) {
        const int32_t before = i > first ? row[i - first - 1] : 0;
        const bool equal = query[t] == key[i] && mask[static_cast<int64_t>(t) * row_stride + static_cast<int64_t>(i)];
        row[i - first] = equal ? before + 1 : 0;
        if (row[i - first] > best) {
          best = row[i - first];
          position = static_cast<int32_t>(i);
        }
      }
      positions[t] = position;
      if (!lengths.empty()) lengths[t] = best;
    }
  });
  add_to(statistics, query, key, lengths);
}

#define ROSA_INSTANTIATE(Symbol)                                                                            \
  template void Matcher::match(std::span<const Symbol>, std::span<const Symbol>, std::span<int32_t>,        \
                               std::span<int32_t>, std::span<const int32_t>, MatchStatistics*);             \
  template void Matcher::match_masked(std::span<const Symbol>, std::span<const Symbol>, std::span<int32_t>, \
                                      std::span<int32_t>, std::span<const int32_t>, const bool*, int64_t,   \
                                      MatchStatistics*)
ROSA_INSTANTIATE(uint8_t);
ROSA_INSTANTIATE(uint64_t);
#undef ROSA_INSTANTIATE

}  // namespace rosa::automaton
