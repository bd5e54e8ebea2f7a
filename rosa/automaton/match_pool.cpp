#include "rosa/automaton/match_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/trace.h"
#include "rosa/automaton/matcher.h"
#include "rosa/automaton/place_sums.h"

namespace rosa::automaton {

// What one thread keeps from sequence to sequence.
struct MatchPool::Worker {
  Matcher matcher;
  PlaceSums place_sums;
  std::vector<uint8_t> query, key, value;  // where the rows are stored as bits
  std::vector<int32_t> positions, lengths;
  std::vector<int32_t> document_starts;
};

class MatchPool::Job {
 public:
  explicit Job(MatchBatch work) : batch(std::move(work)), num_sequences(batch.batch * batch.num_heads) {}

  MatchBatch batch;
  const int64_t num_sequences;
  std::atomic<int64_t> next_sequence = 0;

  void finish(int64_t num, const LayerStatistics& statistics, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    statistics_.merge(statistics);
    num_finished_ += num;
    if (error && !error_) error_ = std::move(error);
    if (num_finished_ == num_sequences) all_finished_.notify_all();
  }

  // Returns when all are finished; rethrows the first exception.
  const LayerStatistics& join() {
    std::unique_lock lock(mutex_);
    all_finished_.wait(lock, [this] { return num_finished_ == num_sequences; });
    // Shares that no worker has begun yet find no sequence left and touch nothing.
    batch.owner.reset();
    if (error_) std::rethrow_exception(error_);
    return statistics_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_finished_;
  int64_t num_finished_ = 0;
  LayerStatistics statistics_;
  std::exception_ptr error_;
};

void LayerStatistics::HeadBits::merge(const HeadBits& other) {
  query_ever_set |= other.query_ever_set;
  query_always_set &= other.query_always_set;
  key_ever_set |= other.key_ever_set;
  key_always_set &= other.key_always_set;
}

void LayerStatistics::merge(const LayerStatistics& other) {
  sums.merge(other.sums);
  if (heads.size() < other.heads.size()) heads.resize(other.heads.size());
  for (size_t head = 0; head < other.heads.size(); ++head) heads[head].merge(other.heads[head]);
}

size_t row_bytes(PositionStorage storage, int64_t length) {
  const auto positions = static_cast<size_t>(length);
  switch (storage) {
    case PositionStorage::bits:
      return (positions + 7) / 8;
    case PositionStorage::bytes:
      return positions;
    case PositionStorage::words:
      break;
  }
  return positions * sizeof(uint64_t);
}

namespace {

const std::byte* row_of(ConstPositionRows rows, int64_t row, int64_t length) {
  return static_cast<const std::byte*>(rows.data) + static_cast<size_t>(row) * row_bytes(rows.storage, length);
}

std::byte* row_of(PositionRows rows, int64_t row, int64_t length) {
  return static_cast<std::byte*>(rows.data) + static_cast<size_t>(row) * row_bytes(rows.storage, length);
}

unsigned bit_at(const std::byte* bits, int64_t position) {
  return (std::to_integer<unsigned>(bits[position / 8]) >> (position % 8)) & 1U;
}

// Writes bit(t) for every position, eight a byte; the last byte's rest is 0.
template <class Bit>
void write_bits(int64_t length, std::byte* bits, const Bit& bit) {
  for (int64_t begin = 0; begin < length; begin += 8) {
    unsigned byte = 0;
    for (int64_t t = begin; t < std::min(begin + 8, length); ++t) byte |= static_cast<unsigned>(bit(t)) << (t - begin);
    bits[begin / 8] = static_cast<std::byte>(byte);
  }
}

template <class Symbol>
std::span<const Symbol> symbols_at(const std::byte* row, int64_t length) {
  return {reinterpret_cast<const Symbol*>(row), static_cast<size_t>(length)};
}

std::span<const uint8_t> expand_bits(const std::byte* row, int64_t length, std::vector<uint8_t>& symbols) {
  symbols.resize(static_cast<size_t>(length));
  for (int64_t t = 0; t < length; ++t) symbols[t] = static_cast<uint8_t>(bit_at(row, t));
  return symbols;
}

template <class Symbol>
void retrieve(std::span<const int32_t> positions, const std::byte* values, std::byte* retrieved) {
  const auto* from = reinterpret_cast<const Symbol*>(values);
  auto* to = reinterpret_cast<Symbol*>(retrieved);
  for (size_t t = 0; t < positions.size(); ++t) to[t] = positions[t] >= 0 ? from[positions[t] + 1] : Symbol{0};
}

void retrieve_row(std::span<const int32_t> positions, PositionStorage storage, const std::byte* values,
                  std::byte* retrieved) {
  switch (storage) {
    case PositionStorage::bits:
      return write_bits(static_cast<int64_t>(positions.size()), retrieved,
                        [&](int64_t t) { return positions[t] >= 0 ? bit_at(values, positions[t] + 1) : 0U; });
    case PositionStorage::bytes:
      return retrieve<uint8_t>(positions, values, retrieved);
    case PositionStorage::words:
      return retrieve<uint64_t>(positions, values, retrieved);
  }
}

void write_matched(std::span<const int32_t> positions, PositionStorage storage, std::byte* matched) {
  if (storage == PositionStorage::bits) {
    write_bits(static_cast<int64_t>(positions.size()), matched, [&](int64_t t) { return positions[t] >= 0; });
  } else {
    for (size_t t = 0; t < positions.size(); ++t) matched[t] = static_cast<std::byte>(positions[t] >= 0);
  }
}

void write_lengths(std::span<const int32_t> lengths, uint8_t* bytes) {
  for (size_t t = 0; t < lengths.size(); ++t) bytes[t] = byte_length(lengths[t]);
}

void find_document_starts(const int64_t* numbers, int64_t row, int64_t length, std::vector<int32_t>& starts) {
  starts.clear();
  if (numbers == nullptr) return;
  numbers += row * length;
  for (int64_t t = 0; t < length; ++t) {
    base::require(t == 0 || numbers[t] >= numbers[t - 1], "documents: the number decreases at position ", t, " of row ",
                  row, ", expected non-decreasing numbers");
    if (t == 0 || numbers[t] != numbers[t - 1]) starts.push_back(static_cast<int32_t>(t));
  }
}

const bool* mask_of(const MatchBatch& batch, int64_t sequence) {
  return batch.mask + sequence / batch.num_heads * batch.mask_batch_stride +
         sequence % batch.num_heads * batch.mask_head_stride;
}

template <class Symbol>
void match_symbols(const MatchBatch& batch, int64_t sequence, std::span<const Symbol> query,
                   std::span<const Symbol> key, std::span<int32_t> positions, std::span<int32_t> lengths,
                   std::span<const int32_t> starts, Matcher& matcher, MatchStatistics* statistics) {
  if (batch.mask == nullptr) {
    matcher.match(query, key, positions, lengths, starts, statistics);
    return;
  }
  matcher.match_masked(query, key, positions, lengths, starts, mask_of(batch, sequence), batch.length, statistics);
}

// One sequence whose matches are known.
template <class Symbol>
struct MatchedSequence {
  const MatchBatch& batch;
  int64_t sequence;
  std::span<const Symbol> query, key;
  std::span<const int32_t> positions, lengths, starts;
};

template <class Counter, class Symbol, class Value>
void sum_into(const MatchedSequence<Symbol>& matched, std::span<const Value> values, PlaceSums& place_sums) {
  const MatchBatch& batch = matched.batch;
  const auto length = static_cast<size_t>(batch.length), bits = static_cast<size_t>(batch.value_bits);
  const auto row = static_cast<size_t>(matched.sequence) * length;
  const std::span counts(static_cast<Counter*>(batch.place_counts.data) + row, length);
  const std::span sums(static_cast<Counter*>(batch.place_sums.data) + row * bits, length * bits);
  if (batch.mask == nullptr) {
    place_sums.sum(matched.key, values, batch.value_bits, matched.positions, matched.lengths, counts, sums,
                   matched.starts);
  } else {
    PlaceSums::sum_masked(matched.query, matched.key, values, batch.value_bits, matched.lengths, counts, sums,
                          matched.starts, mask_of(batch, matched.sequence), batch.length);
  }
}

template <class Symbol, class Value>
void sum_places(const MatchedSequence<Symbol>& matched, std::span<const Value> values, PlaceSums& place_sums) {
  if (matched.batch.place_sums.is_wide) {
    sum_into<uint32_t>(matched, values, place_sums);
  } else {
    sum_into<uint16_t>(matched, values, place_sums);
  }
}

// The masks of the sums, which match_sequence() begins anew for each sequence.
void complete_sums(LayerStatistics& statistics) {
  LayerStatistics::HeadBits all;
  for (const LayerStatistics::HeadBits& head : statistics.heads) all.merge(head);
  statistics.sums.query.bits_ever_set = all.query_ever_set;
  statistics.sums.query.bits_always_set = all.query_always_set;
  statistics.sums.key.bits_ever_set = all.key_ever_set;
  statistics.sums.key.bits_always_set = all.key_always_set;
}

}  // namespace

MatchPool::MatchPool(int num_threads) : helper_(std::make_unique<Worker>()), pool_(num_threads, "automaton") {
  for (int index = 0; index < num_threads; ++index) workers_.push_back(std::make_unique<Worker>());
}

MatchPool::~MatchPool() = default;

MatchPool::Ticket MatchPool::submit(MatchBatch batch) {
  auto job = std::make_shared<Job>(std::move(batch));
  for (int64_t share = 0; share < std::min<int64_t>(job->num_sequences, num_threads()); ++share) {
    pool_.submit([this, job] { run_share(*job, *workers_[pool_.worker_index()]); });
  }
  return job;
}

void MatchPool::wait(const Ticket& ticket) {
  base::require(ticket != nullptr, "MatchPool::wait: got no ticket, expected the one of a submit()");
  if (std::unique_lock helper(helper_mutex_, std::try_to_lock); helper) run_share(*ticket, *helper_);
  const LayerStatistics& statistics = ticket->join();
  if (ticket->batch.layer < 0) return;
  const std::lock_guard lock(statistics_mutex_);
  statistics_[ticket->batch.layer].merge(statistics);
}

std::map<int64_t, LayerStatistics> MatchPool::take_statistics() {
  const std::lock_guard lock(statistics_mutex_);
  return std::exchange(statistics_, {});
}

// Adds to the statistics where they are kept. The sums' masks of bits are begun anew, which gives those of the head.
void MatchPool::match_sequence(const MatchBatch& batch, int64_t sequence, Worker& worker, LayerStatistics& statistics) {
  const int64_t length = batch.length, row = sequence / batch.num_heads, head = sequence % batch.num_heads;
  const int64_t kv_row = row * batch.num_kv_heads + head / (batch.num_heads / batch.num_kv_heads);
  const std::byte* query = row_of(batch.query, sequence, length);
  const std::byte* key = row_of(batch.key, kv_row, length);
  find_document_starts(batch.documents, row, length, worker.document_starts);
  worker.positions.resize(static_cast<size_t>(length));
  std::span<int32_t> positions = worker.positions;
  if (batch.positions != nullptr) positions = {batch.positions + sequence * length, positions.size()};
  worker.lengths.resize(worker.positions.size());

  const bool wants_sums = batch.place_sums.data != nullptr;
  const std::byte* values = row_of(batch.value, kv_row, length);
  const auto match_only = [&](auto queries, auto keys) {
    if (batch.layer < 0) {
      const bool wants_lengths = batch.lengths != nullptr || wants_sums;
      const std::span<int32_t> lengths = wants_lengths ? worker.lengths : std::span<int32_t>{};
      match_symbols(batch, sequence, queries, keys, positions, lengths, worker.document_starts, worker.matcher,
                    nullptr);
      return;
    }
    MatchStatistics& sums = statistics.sums;
    sums.query.bits_ever_set = sums.key.bits_ever_set = 0;
    sums.query.bits_always_set = sums.key.bits_always_set = ~uint64_t{0};
    match_symbols(batch, sequence, queries, keys, positions, std::span<int32_t>(worker.lengths), worker.document_starts,
                  worker.matcher, &sums);
    statistics.heads[static_cast<size_t>(head)].merge(
        {sums.query.bits_ever_set, sums.query.bits_always_set, sums.key.bits_ever_set, sums.key.bits_always_set});
  };
  const auto match = [&]<class Symbol>(std::span<const Symbol> queries, std::span<const Symbol> keys) {
    match_only(queries, keys);
    if (!wants_sums) return;
    const MatchedSequence<Symbol> matched{
        batch, sequence, queries, keys, positions, worker.lengths, worker.document_starts};
    switch (batch.value.storage) {
      case PositionStorage::bits:
        return sum_places(matched, expand_bits(values, length, worker.value), worker.place_sums);
      case PositionStorage::bytes:
        return sum_places(matched, symbols_at<uint8_t>(values, length), worker.place_sums);
      case PositionStorage::words:
        return sum_places(matched, symbols_at<uint64_t>(values, length), worker.place_sums);
    }
  };
  switch (batch.query.storage) {
    case PositionStorage::bits:
      match(expand_bits(query, length, worker.query), expand_bits(key, length, worker.key));
      break;
    case PositionStorage::bytes:
      match(symbols_at<uint8_t>(query, length), symbols_at<uint8_t>(key, length));
      break;
    case PositionStorage::words:
      match(symbols_at<uint64_t>(query, length), symbols_at<uint64_t>(key, length));
      break;
  }
  if (batch.retrieved.data != nullptr) {
    retrieve_row(positions, batch.value.storage, values, row_of(batch.retrieved, sequence, length));
  }
  if (batch.matched.data != nullptr) {
    write_matched(positions, batch.matched.storage, row_of(batch.matched, sequence, length));
  }
  if (batch.lengths != nullptr) write_lengths(worker.lengths, batch.lengths + sequence * length);
}

void MatchPool::run_share(Job& job, Worker& worker) {
  int64_t sequence = job.next_sequence++;
  if (sequence >= job.num_sequences) return;
  const MatchBatch& batch = job.batch;
  int64_t num_done = 0;
  std::exception_ptr error;
  LayerStatistics statistics;
  if (batch.layer >= 0) statistics.heads.resize(static_cast<size_t>(batch.num_heads));
  const auto begin = std::chrono::steady_clock::now();
  try {
    if (work_begins_) work_begins_();
    if (batch.wait_for_inputs) batch.wait_for_inputs();
    for (; sequence < job.num_sequences; sequence = job.next_sequence++) {
      ++num_done;
      match_sequence(batch, sequence, worker, statistics);
    }
  } catch (...) {
    error = std::current_exception();
    // What nobody has begun counts as done, so that the job ends.
    num_done = std::max<int64_t>(num_done, 1);
    num_done += std::max<int64_t>(0, job.num_sequences - job.next_sequence.exchange(job.num_sequences));
  }
  if (base::is_tracing()) {
    base::trace_span("matching", "match", begin, std::chrono::steady_clock::now(),
                     {{"layer", batch.layer}, {"sequences", num_done}, {"length", batch.length}});
  }
  complete_sums(statistics);
  job.finish(num_done, statistics, std::move(error));
}

}  // namespace rosa::automaton
