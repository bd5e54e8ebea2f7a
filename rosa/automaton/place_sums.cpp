#include "rosa/automaton/place_sums.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "rosa/automaton/batch_automaton.h"
#include "rosa/automaton/byte_edges.h"
#include "rosa/automaton/match_bytes.h"
#include "rosa/automaton/narrow_symbols.h"
#include "rosa/automaton/place_search.h"
#include "rosa/automaton/place_tree.h"
#include "rosa/automaton/streaming_places.h"

namespace rosa::automaton {
namespace {

using Rows = RowEdges<PortableSimd, kMaxRowSymbols>;
using Lists = ListEdges<PortableSimd>;

template <class Value, class Counter>
size_t workspace_for(int32_t size, int32_t groups) {
  const size_t automaton = std::max(BatchAutomaton<PortableSimd, Rows>::workspace_bytes(size),
                                    BatchAutomaton<PortableSimd, Lists>::workspace_bytes(size)) +
                           PlaceTree<Counter>::workspace_bytes(size, groups);
  return std::max({automaton, PlaceSearch<Value, Counter, 1>::workspace_bytes(size, groups),
                   PlaceSearch<Value, Counter, 2>::workspace_bytes(size, groups),
                   PlaceSearch<Value, Counter, 4>::workspace_bytes(size, groups),
                   PlaceSearch<Value, Counter, 8>::workspace_bytes(size, groups)});
}

// Returns where the budget is spent, or the document's size.
template <int32_t kBits, class Value, class Counter>
int32_t search(const SummedDocument<Value, Counter>& document, Workspace& workspace, SummingWork& work) {
  PlaceSearch<Value, Counter, kBits> search(document, workspace);
  const int32_t end = search.run();
  work.num_steps += search.num_steps();
  return end;
}

// The robust way, from `begin` on: the places of a match are an interval of the leaves of its keys' suffix automaton.
template <class Edges, class Value, class Counter>
void sum_by_automaton(const SummedDocument<Value, Counter>& document, int32_t begin, Workspace& workspace,
                      SummingWork& work) {
  ByteDocument keys;
  keys.key = document.key;
  keys.size = document.size;
  BatchAutomaton<PortableSimd, Edges> automaton(keys, workspace);
  PlaceTree<Counter> tree(document.size, document.groups(), workspace);
  Counter count = 0;
  automaton.follow_matches(
      begin,
      [&](int32_t t) {
        return document.lengths[t] == 0 ? Match{} : Match{document.position(t), document.lengths[t]};
      },
      [&](int32_t t, int32_t first, int32_t end) {
        if (count == 1 && document.goes_on(t)) return document.write_single(t, document.position(t));
        typename SummedDocument<Value, Counter>::Sums sums{};
        count = tree.count(first, end, sums.data());
        document.write(t, count, sums.data());
      },
      // What follows the last key does not exist, and nothing comes after it.
      [&](int32_t t, int32_t leaf) {
        if (t + 1 < document.size) tree.enter(leaf, document.value[t + 1]);
      });
  work.num_steps += automaton.num_steps() + tree.num_steps();
}

template <class Value, class Counter>
void sum_bytes(const SummedDocument<Value, Counter>& document, Workspace& workspace, SummingWork& work) {
  const size_t taken = workspace.num_bytes_taken();
  const int32_t end = document.bits == 1   ? search<1>(document, workspace, work)
                      : document.bits == 2 ? search<2>(document, workspace, work)
                      : document.bits == 4 ? search<4>(document, workspace, work)
                                           : search<8>(document, workspace, work);
  if (end == document.size) return;
  ++work.num_fallbacks;
  workspace.rewind(taken);
  if (1 << document.bits <= kMaxRowSymbols) {
    sum_by_automaton<Rows>(document, end, workspace, work);
  } else {
    sum_by_automaton<Lists>(document, end, workspace, work);
  }
}

// The way for large alphabets and very long documents.
template <class Symbol, class Value, class Counter>
void sum_streaming(std::span<const Symbol> key, const SummedDocument<Value, Counter>& document) {
  SymbolSequence keys, values;
  StreamingPlaces places;
  std::array<uint32_t, kMaxValueBits> sums{};
  for (int32_t t = 0; t < document.size; ++t) {
    keys.push_back(key[t]);
    values.push_back(document.value[t]);
    const int32_t length = document.lengths[t];
    const Match match = length == 0 ? Match{} : Match{document.position(t), length};
    document.counts[t] = static_cast<Counter>(
        places.count(keys, match, {values, 0, document.value_bits}, std::span(sums).first(document.value_bits)));
    std::copy_n(sums.begin(), document.value_bits, document.sums + static_cast<int64_t>(t) * document.value_bits);
  }
}

template <class Value, class Counter>
void check_spans(size_t size, std::span<const Value> value, int32_t value_bits, std::span<const int32_t> lengths,
                 std::span<Counter> counts, std::span<Counter> sums) {
  constexpr int32_t kMostBits = std::min<int32_t>(kMaxValueBits, 8 * sizeof(Value));
  base::require(value_bits >= 1 && value_bits <= kMostBits, "PlaceSums: got ", value_bits,
                " value bits, expected 1 to ", kMostBits);
  base::require(value.size() == size && lengths.size() == size && counts.size() == size &&
                    sums.size() == size * static_cast<size_t>(value_bits),
                "PlaceSums: got ", size, " keys, ", value.size(), " values, ", lengths.size(), " lengths, room for ",
                counts.size(), " counts and ", sums.size(), " sums, expected as many each, and ", value_bits,
                " sums for each");
  base::require(size <= (sizeof(Counter) == 2 ? size_t{1} << 16 : size_t{1} << 30), "PlaceSums: got ", size,
                " symbols, more than counters of ", sizeof(Counter), " bytes hold");
}

}  // namespace

template <class Symbol, class Value, class Counter>
void PlaceSums::sum(std::span<const Symbol> key, std::span<const Value> value, int32_t value_bits,
                    std::span<const int32_t> positions, std::span<const int32_t> lengths, std::span<Counter> counts,
                    std::span<Counter> sums, std::span<const int32_t> document_starts) {
  const size_t size = key.size();
  check_spans(size, value, value_bits, lengths, counts, sums);
  base::require(positions.size() == size, "PlaceSums: got ", positions.size(), " positions, expected ", size);
  for_each_document(size, document_starts, [&](size_t first, size_t end) {
    const size_t length = end - first;
    if (length == 0) return;
    SummedDocument<Value, Counter> document;
    document.value = value.data() + first;
    document.size = static_cast<int32_t>(length);
    document.first_position = static_cast<int32_t>(first);
    document.value_bits = value_bits;
    document.positions = positions.data() + first;
    document.lengths = lengths.data() + first;
    document.counts = counts.data() + first;
    document.sums = sums.data() + first * static_cast<size_t>(value_bits);
    const std::span<const Symbol> keys = key.subspan(first, length);
    if (document.size > kMaxByteDocument) return sum_streaming(keys, document);
    workspace_.reserve(padded_workspace(length) + workspace_for<Value, Counter>(document.size, document.groups()));
    uint8_t* narrow_key = take_padded(length, workspace_);
    if (!narrow({}, keys, nullptr, narrow_key)) return sum_streaming(keys, document);
    document.key = narrow_key;
    document.bits = bits_of(narrow_key, narrow_key, document.size);
    sum_bytes(document, workspace_, work_);
  });
}

template <class Symbol, class Value, class Counter>
void PlaceSums::sum_masked(std::span<const Symbol> query, std::span<const Symbol> key, std::span<const Value> value,
                           int32_t value_bits, std::span<const int32_t> lengths, std::span<Counter> counts,
                           std::span<Counter> sums, std::span<const int32_t> document_starts, const bool* mask,
                           int64_t row_stride) {
  check_spans(key.size(), value, value_bits, lengths, counts, sums);
  base::require(query.size() == key.size(), "PlaceSums: got ", query.size(), " queries, expected ", key.size());
  std::fill(counts.begin(), counts.end(), Counter{0});
  std::fill(sums.begin(), sums.end(), Counter{0});
  std::vector<int32_t> row;  // as in Matcher::match_masked
  for_each_document(key.size(), document_starts, [&](size_t first, size_t end) {
    row.assign(end - first, 0);
    for (size_t t = first; t < end; ++t) {
      for (size_t i = t; i-- > first;) {
        const int32_t before = i > first ? row[i - first - 1] : 0;
        const bool equal = query[t] == key[i] && mask[static_cast<int64_t>(t) * row_stride + static_cast<int64_t>(i)];
        row[i - first] = equal ? before + 1 : 0;
        if (row[i - first] == 0 || row[i - first] != lengths[t]) continue;
        ++counts[t];
        Counter* of_t = sums.data() + t * static_cast<size_t>(value_bits);
        for (int32_t bit = 0; bit < value_bits; ++bit)
          of_t[bit] = static_cast<Counter>(of_t[bit] + (value[i + 1] >> bit & 1));
      }
    }
  });
}

#define ROSA_INSTANTIATE(Symbol, Value, Counter)                                                                   \
  template void PlaceSums::sum(std::span<const Symbol>, std::span<const Value>, int32_t, std::span<const int32_t>, \
                               std::span<const int32_t>, std::span<Counter>, std::span<Counter>,                   \
                               std::span<const int32_t>);                                                          \
  template void PlaceSums::sum_masked(std::span<const Symbol>, std::span<const Symbol>, std::span<const Value>,    \
                                      int32_t, std::span<const int32_t>, std::span<Counter>, std::span<Counter>,   \
                                      std::span<const int32_t>, const bool*, int64_t)
#define ROSA_INSTANTIATE_BOTH(Symbol, Value) \
  ROSA_INSTANTIATE(Symbol, Value, uint16_t); \
  ROSA_INSTANTIATE(Symbol, Value, uint32_t)
ROSA_INSTANTIATE_BOTH(uint8_t, uint8_t);
ROSA_INSTANTIATE_BOTH(uint8_t, uint64_t);
ROSA_INSTANTIATE_BOTH(uint64_t, uint8_t);
ROSA_INSTANTIATE_BOTH(uint64_t, uint64_t);
#undef ROSA_INSTANTIATE_BOTH
#undef ROSA_INSTANTIATE

}  // namespace rosa::automaton
