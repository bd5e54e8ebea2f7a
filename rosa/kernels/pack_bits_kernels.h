// The launches that pack_bits_kernels.cu gives to pack_bits_device.cpp. Each returns a cudaError_t as a number.
#pragma once

#include "rosa/kernels/pack_bits_device.h"

namespace rosa::kernels {

template <class Logit, class Symbol>
int launch_pack_bits(const Logit* logits, const LogitLayout& layout, Symbol* symbols, DeviceStream stream);
template <class Symbol, class Value>
int launch_unpack_bits(const Symbol* symbols, const LogitLayout& layout, Value* bits, DeviceStream stream);
template <class Symbol, class Value>
int launch_blend_bits(const Symbol* symbols, const LogitLayout& soft_layout, const Value* soft, Value alpha,
                      const LogitLayout& layout, Value* bits, DeviceStream stream);

// The runtime's text for a cudaError_t.
const char* device_error_text(int code);

}  // namespace rosa::kernels
