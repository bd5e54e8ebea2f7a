// pack_bits and its inverses on a GPU: raw device pointers and a stream, no LibTorch. Launches return at once; work put
// on the stream afterwards sees the result. pack_bits_device.cpp or pack_bits_device_none.cpp; CMake picks one.
#pragma once

#include <cstdint>

#include "rosa/kernels/pack_bits.h"

namespace rosa::kernels {

// A cudaStream_t, untyped so that this header needs no CUDA; null is the default stream.
using DeviceStream = void*;

// As pack_bits. Logit: float or double; Symbol: uint8_t or int64_t. Throws base::Error where the launch fails, and
// base::ConfigError in a build without CUDA.
template <class Logit, class Symbol>
void pack_bits_on_device(const Logit* logits, const LogitLayout& layout, Symbol* symbols, DeviceStream stream);

// As unpack_bits.
template <class Symbol, class Value>
void unpack_bits_on_device(const Symbol* symbols, const LogitLayout& layout, Value* bits, DeviceStream stream);

// bits[row][j] = soft[row][j] + alpha (bit j of symbols[row] - soft[row][j]); the layouts have equal sizes.
template <class Symbol, class Value>
void blend_bits_on_device(const Symbol* symbols, const LogitLayout& soft_layout, const Value* soft, Value alpha,
                          const LogitLayout& layout, Value* bits, DeviceStream stream);

}  // namespace rosa::kernels
