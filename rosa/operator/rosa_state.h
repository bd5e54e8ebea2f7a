// RosaState: the streaming form of the operator, for generation. Appending rows equals the batch form bit for bit.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rosa/automaton/streaming_matcher.h"
#include "rosa/automaton/symbol_sequence.h"
#include "rosa/operator/host_executor.h"
#include "rosa/operator/rosa_operator.h"

namespace rosa {

// The state of B sequences in one adapter. Copying copies the state.
class RosaState {
 public:
  // `heads` query heads on `kv_heads` key/value heads; 1 to 63 bits.
  RosaState(int64_t batch, int64_t heads, int64_t kv_heads, int64_t query_bits, int64_t value_bits);

  int64_t size() const { return size_; }
  // Whether this is the state of so many sequences in such an adapter.
  bool has_shape(int64_t batch, int64_t heads, int64_t kv_heads, int64_t query_bits, int64_t value_bits) const {
    return batch == batch_ && heads == heads_ && kv_heads == kv_heads_ && query_bits == query_bits_ &&
           value_bits == value_bits_;
  }
  // Bytes of memory held.
  size_t num_bytes() const;

  // From the next position on, batch row `row` is in a new document.
  void start_document(int64_t row);

  // Appends n positions: query [B,H,n,D], key [B,G,n,D], value [B,G,n,M] logits. Returns the n hard output rows
  // (bits [B,H,n,M] 0 or 1, or their means over all places of the match, matched [B,H,n], and lengths [B,H,n] where
  // wanted) on the device of `query`. No gradients.
  OperatorOutput append(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, HostExecutor& executor,
                        bool want_lengths = false, Candidates candidates = Candidates::latest);

  // Takes back the last `num_positions` of every row, as StreamingMatcher::rewind. Throws ArgumentError, and changes
  // nothing, where the current document of a row has fewer.
  void rewind(int64_t num_positions);

  // Returns the state as bytes: versioned, with a checksum, independent of the machine and the number of threads.
  std::vector<std::byte> save() const;
  // Returns the state that save() wrote; it goes on bit for bit. Throws DataError where the bytes are damaged, cut off
  // or of another version. Takes memory in proportion to the bytes, whatever they say.
  static RosaState load(std::span<const std::byte> bytes);

 private:
  int64_t batch_, heads_, kv_heads_, query_bits_, value_bits_;
  int64_t size_ = 0;
  std::vector<automaton::StreamingMatcher> matchers_;  // [batch][heads]
  std::vector<automaton::SymbolSequence> values_;      // [batch][kv_heads]: every value symbol so far
};

}  // namespace rosa
