#include "rosa/operator/rosa_state.h"

#include "base/error.h"
#include "rosa/operator/symbols.h"

namespace rosa {

using base::require;

namespace {

// So few symbols are matched sooner than other threads are awake.
constexpr int64_t kMinShared = 256;

// Symbols [B,H,n] on the host, one 64-bit integer each.
at::Tensor host_symbols(const at::Tensor& logits) { return pack_symbols(logits).to(at::kCPU).to(at::kLong); }

void check_shape(const at::Tensor& tensor, const char* name, int64_t batch, int64_t heads, int64_t length,
                 int64_t bits) {
  require(tensor.defined() && tensor.dim() == 4 && tensor.size(0) == batch && tensor.size(1) == heads &&
              tensor.size(2) == length && tensor.size(3) == bits,
          "RosaState::append: ", name, " has shape ", tensor.sizes(), ", expected [", batch, ", ", heads, ", ", length,
          ", ", bits, "]");
}

}  // namespace

RosaState::RosaState(int64_t batch, int64_t heads, int64_t kv_heads, int64_t query_bits, int64_t value_bits)
    : batch_(batch), heads_(heads), kv_heads_(kv_heads), query_bits_(query_bits), value_bits_(value_bits) {
  require(batch >= 1 && heads >= 1 && kv_heads >= 1 && heads % kv_heads == 0, "RosaState: got batch ", batch, ", ",
          heads, " heads on ", kv_heads, " key/value heads, expected positive numbers and a multiple");
  require(query_bits >= 1 && query_bits <= kMaxSymbolBits && value_bits >= 1 && value_bits <= kMaxSymbolBits,
          "RosaState: got ", query_bits, " query and ", value_bits, " value bits, expected 1 to ", kMaxSymbolBits);
  matchers_.resize(batch * heads);
  values_.resize(batch * kv_heads);
}

void RosaState::start_document(int64_t row) {
  require(row >= 0 && row < batch_, "RosaState::start_document: got row ", row, " of ", batch_);
  for (int64_t head = 0; head < heads_; ++head) matchers_[row * heads_ + head].start_document();
}

OperatorOutput RosaState::append(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                 HostExecutor& executor, bool want_lengths, Candidates candidates) {
  const at::NoGradGuard no_grad;
  require(query.defined() && query.dim() == 4, "RosaState::append: the query must have shape [batch, heads, n, bits]");
  const int64_t count = query.size(2);
  check_shape(query, "query", batch_, heads_, count, query_bits_);
  check_shape(key, "key", batch_, kv_heads_, count, query_bits_);
  check_shape(value, "value", batch_, kv_heads_, count, value_bits_);

  const at::Tensor query_symbols = host_symbols(query), key_symbols = host_symbols(key);
  const at::Tensor value_symbols = host_symbols(value);
  for (int64_t row = 0; row < batch_ * kv_heads_; ++row) {
    const int64_t* symbols = value_symbols.const_data_ptr<int64_t>() + row * count;
    for (int64_t t = 0; t < count; ++t) values_[row].push_back(static_cast<uint64_t>(symbols[t]));
  }
  const bool want_mean = candidates == Candidates::mean;
  const std::vector<int64_t> sizes{batch_, heads_, count};
  HardResult hard;
  hard.matched = at::empty(sizes, at::kBool);
  if (want_lengths) hard.lengths = at::empty(sizes, at::kByte);
  if (want_mean) {
    hard.place_counts = at::empty(sizes, at::kInt);
    hard.place_sums = at::empty({batch_, heads_, count, value_bits_}, at::kInt);
  } else {
    hard.value_symbols = at::empty(sizes, at::kLong);
  }
  bool* matched_data = hard.matched.mutable_data_ptr<bool>();
  uint8_t* length_data = want_lengths ? hard.lengths.mutable_data_ptr<uint8_t>() : nullptr;
  int64_t* retrieved_data = want_mean ? nullptr : hard.value_symbols.mutable_data_ptr<int64_t>();
  int32_t* count_data = want_mean ? hard.place_counts.mutable_data_ptr<int32_t>() : nullptr;
  int32_t* sum_data = want_mean ? hard.place_sums.mutable_data_ptr<int32_t>() : nullptr;
  const auto match_row = [&](int64_t row) {
    const int64_t kv_row = row / heads_ * kv_heads_ + row % heads_ / (heads_ / kv_heads_);
    const int64_t* queries = query_symbols.const_data_ptr<int64_t>() + row * count;
    const int64_t* keys = key_symbols.const_data_ptr<int64_t>() + kv_row * count;
    for (int64_t t = 0; t < count; ++t) {
      const automaton::Match match = matchers_[row].append(queries[t], keys[t]);
      const int64_t at = row * count + t;
      matched_data[at] = match.position >= 0;
      if (want_lengths) length_data[at] = automaton::byte_length(match.length);
      // A match ends before the newest position, so the row after it is there already.
      if (want_mean) {
        const std::span sums(reinterpret_cast<uint32_t*>(sum_data) + at * value_bits_,
                             static_cast<size_t>(value_bits_));
        count_data[at] = static_cast<int32_t>(matchers_[row].count_places(values_[kv_row], sums));
      } else {
        retrieved_data[at] = match.position >= 0 ? static_cast<int64_t>(values_[kv_row][match.position + 1]) : 0;
      }
    }
  };
  if (batch_ * heads_ * count <= kMinShared) {
    for (int64_t row = 0; row < batch_ * heads_; ++row) match_row(row);
  } else {
    executor.parallel_for(batch_ * heads_, match_row);
  }
  size_ += count;
  const at::ScalarType dtype = query.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  for (at::Tensor* tensor : {&hard.matched, &hard.lengths, &hard.value_symbols, &hard.place_counts, &hard.place_sums}) {
    if (tensor->defined()) *tensor = tensor->to(query.device());
  }
  return {hard_bits(hard, value_bits_, dtype), hard.matched, hard.lengths};
}

size_t RosaState::num_bytes() const {
  size_t bytes = sizeof(*this);
  for (const automaton::StreamingMatcher& matcher : matchers_) bytes += matcher.num_bytes();
  for (const automaton::SymbolSequence& values : values_) bytes += values.num_bytes();
  return bytes;
}

void RosaState::rewind(int64_t num_positions) {
  for (size_t row = 0; row < matchers_.size(); ++row) {
    require(num_positions >= 0 && num_positions <= matchers_[row].document_size(), "RosaState::rewind: got ",
            num_positions, " positions, expected at most the ", matchers_[row].document_size(),
            " of the current document of batch row ", static_cast<int64_t>(row) / heads_);
  }
  for (automaton::StreamingMatcher& matcher : matchers_) matcher.rewind(num_positions);
  size_ -= num_positions;
  for (automaton::SymbolSequence& values : values_) values.truncate(static_cast<int32_t>(size_));
}

}  // namespace rosa
