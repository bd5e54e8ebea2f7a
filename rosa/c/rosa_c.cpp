#include "rosa/c/rosa_c.h"

#include <algorithm>
#include <exception>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "rosa/automaton/matcher.h"
#include "rosa/automaton/place_sums.h"
#include "rosa/c/run_rows.h"
#include "rosa/c/stream.h"

namespace rosa::c {
namespace {

using base::require;

constexpr int32_t kMaxThreads = 1024;

std::string& last_error() {
  thread_local std::string error;
  return error;
}

int32_t failed(int32_t status, const char* message) noexcept {
  try {
    last_error() = message;
  } catch (...) {
    last_error().clear();  // no memory for a sentence
  }
  return status;
}

// Nothing that is thrown leaves the library.
template <class Body>
int32_t guarded(const Body& body) noexcept {
  try {
    body();
    return ROSA_C_OK;
  } catch (const base::ArgumentError& error) {
    return failed(ROSA_C_BAD_ARGUMENT, error.what());
  } catch (const base::DataError& error) {
    return failed(ROSA_C_BAD_BYTES, error.what());
  } catch (const std::bad_alloc&) {
    return failed(ROSA_C_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return failed(ROSA_C_FAILED, error.what());
  } catch (...) {
    return failed(ROSA_C_FAILED, "unknown error");
  }
}

void require_pointer(const void* pointer, const char* name) { require(pointer != nullptr, name, " is NULL"); }

void check_threads(int32_t num_threads) {
  require(num_threads >= 1 && num_threads <= kMaxThreads, "got ", num_threads, " threads; expected 1 to ", kMaxThreads);
}

struct WholeSequences {
  int64_t heads, kv_heads, length;
  const uint64_t *query, *key, *value;
  uint64_t* retrieved;
  int32_t *positions, *lengths;
  int32_t value_bits = 0;  // of the means
  float* means = nullptr;
};

std::vector<int32_t> starts_of(const int64_t* documents, int64_t batch_row, int64_t length) {
  std::vector<int32_t> starts;
  const int64_t* row = documents + batch_row * length;
  for (int64_t t = 0; t < length; ++t) {
    require(t == 0 || row[t] >= row[t - 1], "documents fall from ", t > 0 ? row[t - 1] : 0, " to ", row[t],
            " at position ", t, " of row ", batch_row);
    if (t == 0 || row[t] > row[t - 1]) starts.push_back(static_cast<int32_t>(t));
  }
  return starts;
}

// What a thread keeps from sequence to sequence.
struct MatchWorker {
  automaton::Matcher matcher;
  automaton::PlaceSums place_sums;
  std::vector<uint8_t> query, key;  // of symbols below 256, for which the matcher is faster
  std::vector<int32_t> positions, lengths;
  std::vector<uint32_t> counts, sums;
};

void match_sequence(const WholeSequences& all, int64_t row, std::span<const int32_t> starts, MatchWorker& worker) {
  const auto length = static_cast<size_t>(all.length);
  const int64_t kv_row = row / all.heads * all.kv_heads + row % all.heads / (all.heads / all.kv_heads);
  const std::span query(all.query + row * all.length, length), key(all.key + kv_row * all.length, length);
  std::span<int32_t> positions;
  if (all.positions != nullptr) {
    positions = {all.positions + row * all.length, length};
  } else {
    worker.positions.resize(length);
    positions = worker.positions;
  }
  std::span<int32_t> lengths;
  if (all.lengths != nullptr) {
    lengths = {all.lengths + row * all.length, length};
  } else if (all.means != nullptr) {
    worker.lengths.resize(length);
    lengths = worker.lengths;
  }
  const auto is_byte = [](uint64_t symbol) { return symbol < 256; };
  if (std::all_of(query.begin(), query.end(), is_byte) && std::all_of(key.begin(), key.end(), is_byte)) {
    worker.query.assign(query.begin(), query.end());
    worker.key.assign(key.begin(), key.end());
    worker.matcher.match<uint8_t>(worker.query, worker.key, positions, lengths, starts);
  } else {
    worker.matcher.match<uint64_t>(query, key, positions, lengths, starts);
  }
  const uint64_t* values = all.value + kv_row * all.length;
  if (all.means != nullptr) {
    const auto bits = static_cast<size_t>(all.value_bits);
    worker.counts.resize(length);
    worker.sums.resize(length * bits);
    worker.place_sums.sum<uint64_t, uint64_t, uint32_t>(key, {values, length}, all.value_bits, positions, lengths,
                                                        worker.counts, worker.sums, starts);
    float* means = all.means + static_cast<size_t>(row) * length * bits;
    for (size_t t = 0; t < length; ++t) {
      write_means<uint32_t>(worker.counts[t], std::span(worker.sums).subspan(t * bits, bits), means + t * bits);
    }
  }
  if (all.retrieved == nullptr) return;
  uint64_t* retrieved = all.retrieved + row * all.length;
  for (size_t t = 0; t < length; ++t) retrieved[t] = positions[t] >= 0 ? values[positions[t] + 1] : 0;
}

}  // namespace
}  // namespace rosa::c

using namespace rosa::c;  // NOLINT(google-build-using-namespace): the functions below belong to it but for their names
using rosa::base::require;

int32_t rosa_c_version(void) { return ROSA_C_VERSION; }

const char* rosa_c_error(void) { return last_error().c_str(); }

int32_t rosa_stream_create(int64_t batch, int64_t heads, int64_t kv_heads, rosa_stream** stream) {
  return guarded([&] {
    require_pointer(stream, "stream");
    *stream = new rosa_stream(batch, heads, kv_heads);
  });
}

void rosa_stream_free(rosa_stream* stream) { delete stream; }

int32_t rosa_stream_append(rosa_stream* stream, int64_t count, const uint64_t* query, const uint64_t* key,
                           const uint64_t* value, const uint8_t* present, int32_t num_threads, uint64_t* retrieved,
                           int32_t* positions) {
  return rosa_stream_append_full(stream, count, query, key, value, present, num_threads, 0, retrieved, positions,
                                 nullptr, nullptr);
}

int32_t rosa_stream_append_full(rosa_stream* stream, int64_t count, const uint64_t* query, const uint64_t* key,
                                const uint64_t* value, const uint8_t* present, int32_t num_threads, int32_t value_bits,
                                uint64_t* retrieved, int32_t* positions, int32_t* lengths, float* means) {
  return guarded([&] {
    require_pointer(stream, "stream");
    check_threads(num_threads);
    if (count != 0) {
      require_pointer(query, "query");
      require_pointer(key, "key");
      require_pointer(value, "value");
    }
    stream->append({count, query, key, value, present, retrieved, positions, lengths, value_bits, means}, num_threads);
  });
}

int32_t rosa_stream_rewind(rosa_stream* stream, const int64_t* counts) {
  return guarded([&] {
    require_pointer(stream, "stream");
    require_pointer(counts, "counts");
    stream->rewind({counts, static_cast<size_t>(stream->batch())});
  });
}

int32_t rosa_stream_sizes(const rosa_stream* stream, int64_t* sizes) {
  return guarded([&] {
    require_pointer(stream, "stream");
    require_pointer(sizes, "sizes");
    const std::vector<int64_t> all = stream->sizes();
    std::copy(all.begin(), all.end(), sizes);
  });
}

int32_t rosa_stream_copy(const rosa_stream* stream, rosa_stream** copy) {
  return guarded([&] {
    require_pointer(stream, "stream");
    require_pointer(copy, "copy");
    stream->require_whole();
    *copy = new rosa_stream(*stream);
  });
}

int32_t rosa_stream_select(const rosa_stream* stream, const int64_t* rows, int64_t num_rows, rosa_stream** selected) {
  return guarded([&] {
    require_pointer(stream, "stream");
    require_pointer(rows, "rows");
    require_pointer(selected, "selected");
    require(num_rows >= 1 && num_rows <= kMaxSequences, "got ", num_rows, " rows; expected 1 to ", kMaxSequences);
    *selected = new rosa_stream(stream->select({rows, static_cast<size_t>(num_rows)}));
  });
}

int32_t rosa_stream_save(const rosa_stream* stream, uint8_t* bytes, size_t capacity, size_t* size) {
  return guarded([&] {
    require_pointer(stream, "stream");
    require_pointer(size, "size");
    const std::vector<std::byte> saved = stream->save();
    *size = saved.size();
    if (bytes == nullptr) return;
    require(capacity >= saved.size(), "got room for ", capacity, " bytes; expected ", saved.size());
    std::copy_n(reinterpret_cast<const uint8_t*>(saved.data()), saved.size(), bytes);
  });
}

int32_t rosa_stream_load(const uint8_t* bytes, size_t size, rosa_stream** stream) {
  return guarded([&] {
    require_pointer(bytes, "bytes");
    require_pointer(stream, "stream");
    *stream = new rosa_stream(rosa_stream::load({reinterpret_cast<const std::byte*>(bytes), size}));
  });
}

int32_t rosa_match(int64_t batch, int64_t heads, int64_t kv_heads, int64_t length, const uint64_t* query,
                   const uint64_t* key, const uint64_t* value, const int64_t* documents, int32_t num_threads,
                   uint64_t* retrieved, int32_t* positions, int32_t* lengths) {
  return rosa_match_full(batch, heads, kv_heads, length, query, key, value, documents, num_threads, 0, retrieved,
                         positions, lengths, nullptr);
}

int32_t rosa_match_full(int64_t batch, int64_t heads, int64_t kv_heads, int64_t length, const uint64_t* query,
                        const uint64_t* key, const uint64_t* value, const int64_t* documents, int32_t num_threads,
                        int32_t value_bits, uint64_t* retrieved, int32_t* positions, int32_t* lengths, float* means) {
  return guarded([&] {
    check_shape(batch, heads, kv_heads, length);
    check_threads(num_threads);
    if (length == 0) return;
    require_pointer(query, "query");
    require_pointer(key, "key");
    require(value != nullptr || (retrieved == nullptr && means == nullptr),
            "value is NULL, but its rows are to be retrieved");
    if (means != nullptr) check_value_bits(value_bits);
    std::vector<std::vector<int32_t>> starts(batch);
    if (documents != nullptr) {
      for (int64_t row = 0; row < batch; ++row) starts[row] = starts_of(documents, row, length);
    }
    const WholeSequences all{heads,     kv_heads,  length,  query,      key,  value,
                             retrieved, positions, lengths, value_bits, means};
    run_rows<MatchWorker>(batch * heads, length, num_threads, [&](int64_t row, MatchWorker& worker) {
      match_sequence(all, row, starts[row / heads], worker);
    });
  });
}
