// MatchPool: matches many sequences on threads of its own and gathers the matched values, on plain memory. submit()
// returns at once, wait() joins. Knows no tensors and no devices (rosa/operator/host_executor.h does).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/thread_pool.h"
#include "rosa/automaton/match_statistics.h"

namespace rosa::automaton {

// The memory of one position: a bit (eight positions a byte, the first the lowest bit; a row begins at a byte), a byte,
// or eight bytes.
enum class PositionStorage { bits, bytes, words };

// Bytes of a row of `length` positions.
size_t row_bytes(PositionStorage storage, int64_t length);

// The length of a match as a byte: longer ones count as kMaxByteLength; 0: none.
inline constexpr int32_t kMaxByteLength = 255;
inline uint8_t byte_length(int32_t length) { return static_cast<uint8_t>(std::min(length, kMaxByteLength)); }

// Rows of positions, one after the other.
struct ConstPositionRows {
  const void* data = nullptr;
  PositionStorage storage = PositionStorage::bytes;
};
struct PositionRows {
  void* data = nullptr;
  PositionStorage storage = PositionStorage::bytes;
};

// Counters of 16 or 32 bits, row after row.
struct CounterRows {
  void* data = nullptr;
  bool is_wide = false;  // 32 bits; 16 hold the counts of at most 65536 positions
};

// One job: `batch` times `num_heads` sequences of queries on `batch` times `num_kv_heads` of keys and values; query
// head h reads key/value head h / (num_heads / num_kv_heads). The shapes are the caller's to check.
struct MatchBatch {
  int64_t batch = 0, num_heads = 0, num_kv_heads = 0, length = 0;
  ConstPositionRows query;             // [batch, num_heads] rows of symbols
  ConstPositionRows key;               // [batch, num_kv_heads], stored as the queries are
  ConstPositionRows value;             // [batch, num_kv_heads]
  const bool* mask = nullptr;          // [.., .., length, length]: see Matcher::match_masked
  int64_t mask_batch_stride = 0;       // in elements; 0: one mask for the whole batch
  int64_t mask_head_stride = 0;        // 0: one mask for all heads
  const int64_t* documents = nullptr;  // [batch, length] document numbers, non-decreasing; null: one document a row
  // [batch, num_heads], stored as the values are: value[i* + 1], 0 where none; without data: not wanted.
  PositionRows retrieved;
  // [batch, num_heads], bits or bytes: 1 where there was a match; without data: not wanted.
  PositionRows matched;
  int32_t* positions = nullptr;  // [batch, num_heads, length]: i*, -1 for none; null: not wanted
  uint8_t* lengths = nullptr;    // [batch, num_heads, length]: see byte_length(); null: not wanted
  // All places of the match (place_sums.h), both or none; without data: not wanted.
  CounterRows place_counts;  // [batch, num_heads, length]
  CounterRows place_sums;    // [batch, num_heads, length, value_bits], as wide
  int32_t value_bits = 0;    // of a value, where the sums are wanted

  int64_t layer = -1;                     // only for the trace
  std::function<void()> wait_for_inputs;  // called by every worker before it reads; may block; empty: all is there
  std::shared_ptr<void> owner;            // of the memory; kept until no worker can touch it
};

// What the symbols and matches of one layer look like.
struct LayerStatistics {
  // The bits of one query head's symbols: those in the first and not in the second mask have been both 0 and 1.
  struct HeadBits {
    uint64_t query_ever_set = 0, query_always_set = ~uint64_t{0};
    uint64_t key_ever_set = 0, key_always_set = ~uint64_t{0};

    void merge(const HeadBits& other);
  };

  MatchStatistics sums;
  std::vector<HeadBits> heads;

  void merge(const LayerStatistics& other);
};

class MatchPool {
 public:
  // One submitted batch; hand it to wait() once, or drop it.
  class Job;
  using Ticket = std::shared_ptr<Job>;

  // `num_threads` workers. Whoever waits helps them: see wait().
  explicit MatchPool(int num_threads);
  // Finishes what is in flight.
  ~MatchPool();

  int num_threads() const { return pool_.num_threads(); }

  // Queues the batch and returns at once. Any number may be in flight; their outputs must not overlap.
  Ticket submit(MatchBatch batch);

  // Returns when every sequence of the batch is matched. Meanwhile the calling thread matches sequences of this batch
  // that no worker has begun, so that cores left to the waiting thread are used. Rethrows the first exception of the
  // job; after it the outputs are undefined.
  void wait(const Ticket& ticket);

  // The statistics of each layer over all batches waited for since the last call.
  std::map<int64_t, LayerStatistics> take_statistics();

  // Calls body(0) ... body(count - 1) on the workers and returns when all have run; rethrows what they threw.
  void parallel_for(int64_t count, const std::function<void(int64_t)>& body) { pool_.parallel_for(count, body); }

  // For tests: called when a thread begins its share of a batch. Set it while nothing is in flight.
  void set_work_begins(std::function<void()> hook) { work_begins_ = std::move(hook); }

 private:
  struct Worker;

  static void match_sequence(const MatchBatch& batch, int64_t sequence, Worker& worker, LayerStatistics& statistics);
  void run_share(Job& job, Worker& worker);

  std::vector<std::unique_ptr<Worker>> workers_;
  std::mutex statistics_mutex_;
  std::map<int64_t, LayerStatistics> statistics_;
  std::mutex helper_mutex_;  // one waiting thread helps at a time
  std::unique_ptr<Worker> helper_;
  std::function<void()> work_begins_;
  base::ThreadPool pool_;  // last: its threads end before what they use goes away
};

}  // namespace rosa::automaton
