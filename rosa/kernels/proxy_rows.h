// Rows of bits as the fused proxies take them, and their workspace: raw pointers and strides. Not the proxies.
// Functions are static: this header is compiled for several instruction sets.
#pragma once

#include <cstdint>

namespace rosa::kernels {

// Rows [head][t][bit]; bits are contiguous, strides in elements.
struct ConstRows {
  const float* data = nullptr;
  int64_t head_stride = 0;
  int64_t row_stride = 0;
};
struct Rows {
  float* data = nullptr;
  int64_t head_stride = 0;
  int64_t row_stride = 0;
};

// How many elements an array over `length` distances must have: the kernels read whole vectors.
static constexpr int64_t padded_length(int64_t length) { return (length + 15) / 16 * 16; }

// What `count` values take of a workspace: whole cache lines.
template <class Value>
static constexpr int64_t workspace_bytes(int64_t count) {
  return (count * static_cast<int64_t>(sizeof(Value)) + 63) / 64 * 64;
}

// The instruction set that this process uses for the fused proxies: "avx512", "avx2" or "portable". Sums differ in the
// last bits between them.
const char* proxy_instruction_set();

}  // namespace rosa::kernels
