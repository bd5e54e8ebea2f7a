/* The C interface of the exact matchers (rosa/automaton/): for Python by ctypes, and for any other language. A shared
 * library without LibTorch.
 *
 * The definition, with queries q, keys k and values v of one sequence, for i < t:
 *   L(t, i) = 1 + L(t - 1, i - 1) if q[t] == k[i], else 0; L(., -1) = 0.
 * The match of t is the latest i < t among those with the greatest L(t, i); none where that is 0. What t retrieves is
 * v[i + 1]; 0 where nothing matches. A place of the match is any i < t with the greatest L(t, i), not only the latest;
 * the mean of t is that of the value bits v[i + 1] after all its places.
 *
 * Every function that can fail returns a status, ROSA_C_OK where it worked. rosa_c_error() then holds one sentence. No
 * exception leaves the library, and it writes nothing but its outputs. Arrays are contiguous, in row-major order, and
 * must not overlap. A symbol is any 64-bit number. Query head h reads key/value head h / (heads / kv_heads).
 *
 * One rosa_stream is for one thread at a time; different ones are independent. `num_threads` (1 to 1024) threads work
 * on a call and end with it, so that a process may fork. Few symbols are left to the calling thread.
 */
#ifndef ROSA_C_ROSA_C_H_
#define ROSA_C_ROSA_C_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ROSA_C_API __attribute__((visibility("default")))
#else
#define ROSA_C_API
#endif

/* Grows when a function changes its meaning; rosa_c_version() is the library's. */
#define ROSA_C_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

enum {
  ROSA_C_OK = 0,
  ROSA_C_BAD_ARGUMENT = 1,  /* nothing was changed */
  ROSA_C_BAD_BYTES = 2,     /* damaged, cut off, or of another version */
  ROSA_C_OUT_OF_MEMORY = 3, /* an append that failed so leaves a stream that only rosa_stream_free takes */
  ROSA_C_FAILED = 4         /* anything else; for an append as above */
};

ROSA_C_API int32_t rosa_c_version(void);

/* What went wrong in the last call of this thread that failed; "" before. Valid until this thread's next call. */
ROSA_C_API const char* rosa_c_error(void);

/* The growing sequences of a batch: batch x heads of queries, batch x kv_heads of keys and values. */
typedef struct rosa_stream rosa_stream;

/* Makes an empty stream. kv_heads is a divisor of heads; batch x heads is at most 2^24. */
ROSA_C_API int32_t rosa_stream_create(int64_t batch, int64_t heads, int64_t kv_heads, rosa_stream** stream);

/* Frees it. Null is allowed. */
ROSA_C_API void rosa_stream_free(rosa_stream* stream);

/* Appends `count` positions; amortised O(log n) each, on every input.
 *   query [batch, heads, count], key and value [batch, kv_heads, count]
 *   present [batch, count]: 0 where there is no token (padding): it is left out, as if it had never been there, and
 *     gets no match. NULL: all are there.
 *   retrieved [batch, heads, count]: the value after the match, 0 where none. NULL: not wanted.
 *   positions [batch, heads, count]: the match as the number of a token of its row, those left out not counted;
 *     -1: none. NULL: not wanted.
 * A row holds at most 2^30 tokens. */
ROSA_C_API int32_t rosa_stream_append(rosa_stream* stream, int64_t count, const uint64_t* query, const uint64_t* key,
                                      const uint64_t* value, const uint8_t* present, int32_t num_threads,
                                      uint64_t* retrieved, int32_t* positions);

/* As rosa_stream_append, with more to ask for:
 *   lengths [batch, heads, count]: the length of the match, 0 where none. NULL: not wanted.
 *   means [batch, heads, count, value_bits]: of the lowest value_bits (1 to 63) bits of the values, from 0 to 1; zeros
 *     where nothing matches. value_bits must be the same in every call for a stream. NULL: not wanted; value_bits is
 * not read then. */
ROSA_C_API int32_t rosa_stream_append_full(rosa_stream* stream, int64_t count, const uint64_t* query,
                                           const uint64_t* key, const uint64_t* value, const uint8_t* present,
                                           int32_t num_threads, int32_t value_bits, uint64_t* retrieved,
                                           int32_t* positions, int32_t* lengths, float* means);

/* Takes back the last counts[row] tokens of each row: what is appended next gets the answers as if those had never
 * been. counts [batch], at most the row's size. */
ROSA_C_API int32_t rosa_stream_rewind(rosa_stream* stream, const int64_t* counts);

/* Writes how many tokens each row holds: sizes [batch]. */
ROSA_C_API int32_t rosa_stream_sizes(const rosa_stream* stream, int64_t* sizes);

/* Makes a copy that is independent of the original. */
ROSA_C_API int32_t rosa_stream_copy(const rosa_stream* stream, rosa_stream** copy);

/* Makes a stream of num_rows batch rows; row i is a copy of row rows[i] (beam search, repeated prompts). */
ROSA_C_API int32_t rosa_stream_select(const rosa_stream* stream, const int64_t* rows, int64_t num_rows,
                                      rosa_stream** selected);

/* Writes the state as bytes: versioned, with a checksum, independent of the machine. `size` gets the number of bytes.
 * With bytes NULL nothing else happens; else `capacity` is how many there is room for, and must be enough. */
ROSA_C_API int32_t rosa_stream_save(const rosa_stream* stream, uint8_t* bytes, size_t capacity, size_t* size);

/* Makes the stream that was saved; it goes on bit for bit. Takes memory in proportion to the bytes, whatever they
 * say. */
ROSA_C_API int32_t rosa_stream_load(const uint8_t* bytes, size_t size, rosa_stream** stream);

/* The matches of whole sequences, faster than a stream. O(n log n) on every input.
 *   query [batch, heads, length], key [batch, kv_heads, length]
 *   value [batch, kv_heads, length]: NULL where `retrieved` is.
 *   documents [batch, length]: number of the document, not falling along a row; a match stays inside one. NULL: one.
 *   retrieved, positions, lengths [batch, heads, length]: the value after the match, the match (-1: none; it counts
 *     from the row's start) and its length (0: none). NULL: not wanted.
 * A row holds at most 2^30 tokens. */
ROSA_C_API int32_t rosa_match(int64_t batch, int64_t heads, int64_t kv_heads, int64_t length, const uint64_t* query,
                              const uint64_t* key, const uint64_t* value, const int64_t* documents, int32_t num_threads,
                              uint64_t* retrieved, int32_t* positions, int32_t* lengths);

/* As rosa_match, with means [batch, heads, length, value_bits] as of rosa_stream_append_full. NULL: not wanted. */
ROSA_C_API int32_t rosa_match_full(int64_t batch, int64_t heads, int64_t kv_heads, int64_t length,
                                   const uint64_t* query, const uint64_t* key, const uint64_t* value,
                                   const int64_t* documents, int32_t num_threads, int32_t value_bits,
                                   uint64_t* retrieved, int32_t* positions, int32_t* lengths, float* means);

#ifdef __cplusplus
}
#endif

#endif /* ROSA_C_ROSA_C_H_ */
