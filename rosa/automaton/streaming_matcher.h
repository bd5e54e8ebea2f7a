// StreamingMatcher: the hard ROSA match of a growing sequence, one symbol at a time (match.h).
// Holds keys and matches only: values belong to the caller, who brings them for count_places(). Searches chains as long
// as these are cheap, and goes on with the order of all prefixes, which is slower but bounded, where the keys are hard
// for chains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rosa/automaton/boxed.h"
#include "rosa/automaton/growing_array.h"
#include "rosa/automaton/key_chains.h"
#include "rosa/automaton/match.h"
#include "rosa/automaton/prefix_order.h"
#include "rosa/automaton/streaming_places.h"
#include "rosa/automaton/symbol_sequence.h"

namespace rosa::automaton {

// Copies are independent of each other. Not for use by two threads at once.
class StreamingMatcher {
 public:
  // Appends a query and a key of up to 64 bits. Returns the longest, then latest match among the keys before them in
  // the same document; its position counts from the beginning of the stream. Amortised O(log n) on every input. Throws
  // ArgumentError beyond 2^30 symbols.
  Match append(uint64_t query, uint64_t key);

  // Returns how many places the match of the last append() has, all in its document (place_sums.h), and writes to
  // sums[j] how many of the values after them have bit j, for as many bits as sums has, the same in every call; zeros
  // where nothing matches. `values`: one for every symbol of the stream so far, or more; those of earlier calls must
  // not change, unless they were taken back. Amortised O(log n) a value bit on every input. Nothing of it is saved: it
  // is made anew from keys and values. Throws ArgumentError where the sizes do not fit.
  uint32_t count_places(const SymbolSequence& values, std::span<uint32_t> sums);

  // Takes back the last `num_symbols` appends, of the current document only: what is appended next gets the answers as
  // if those had never been. Throws ArgumentError where the document has fewer. O(log n) a symbol, however often; what
  // append() amortises counts appends that were taken back too.
  void rewind(int64_t num_symbols);

  // Starts a document: no later match reaches back before this point. Frees the memory of the documents before.
  void start_document();

  // The number of symbols appended so far, over all documents.
  int64_t size() const { return document_start_ + keys_.size(); }
  // Those of the current document: rewind() can take back so many.
  int64_t document_size() const { return keys_.size(); }
  // Bytes of memory held, the searches' included.
  size_t num_bytes() const;

  // What save() returns for an empty stream; no state takes fewer bytes.
  static constexpr size_t kMinSavedBytes = 48;

  // Returns the state as bytes: versioned, with a checksum, independent of the machine.
  std::vector<std::byte> save() const;
  // Returns the state that save() wrote; it goes on bit for bit. Throws DataError where the bytes are damaged, cut off
  // or of another version. Takes memory in proportion to the bytes, whatever they say.
  static StreamingMatcher load(std::span<const std::byte> bytes);

  // Elementary steps so far in this document: the work done, for tests of the running time.
  int64_t num_steps() const {
    return num_spent_steps_ + (chains_ ? chains_->num_steps() : 0) + (order_ ? order_->num_steps() : 0);
  }
  // The same of count_places().
  int64_t num_counting_steps() const { return places_ ? places_->num_steps() : 0; }

 private:
  static constexpr int64_t kMaxSize = int64_t{1} << 30;

  // Where a match is not the one before it gone on. Its positions count from document_start_.
  struct Break {
    int32_t time;
    Match match;
  };

  Match search(uint64_t query);
  Match match_at(int32_t time) const;

  SymbolSequence keys_;  // of the current document
  int64_t document_start_ = 0;
  Match match_;                    // the latest match; its position counts from document_start_
  GrowingArray<Break> breaks_;     // ascending, the first at 0: all matches of the document, for rewind()
  Boxed<KeyChains> chains_;        // from the first search on, until they are too slow
  Boxed<PrefixOrder> order_;       // from then on
  Boxed<StreamingPlaces> places_;  // from the first count_places() on
  int64_t num_spent_steps_ = 0;    // of chains that are gone
};

}  // namespace rosa::automaton
