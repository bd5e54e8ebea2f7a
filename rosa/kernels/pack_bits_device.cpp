// The form of builds with CUDA: launches the kernels and turns their errors into exceptions.
#include "rosa/kernels/pack_bits_device.h"

#include "rosa/kernels/device_launch.h"
#include "rosa/kernels/pack_bits_kernels.h"

namespace rosa::kernels {

template <class Logit, class Symbol>
void pack_bits_on_device(const Logit* logits, const LogitLayout& layout, Symbol* symbols, DeviceStream stream) {
  check_launch(launch_pack_bits(logits, layout, symbols, stream), "pack_bits");
}

template <class Symbol, class Value>
void unpack_bits_on_device(const Symbol* symbols, const LogitLayout& layout, Value* bits, DeviceStream stream) {
  check_launch(launch_unpack_bits(symbols, layout, bits, stream), "unpack_bits");
}

template <class Symbol, class Value>
void blend_bits_on_device(const Symbol* symbols, const LogitLayout& soft_layout, const Value* soft, Value alpha,
                          const LogitLayout& layout, Value* bits, DeviceStream stream) {
  check_launch(launch_blend_bits(symbols, soft_layout, soft, alpha, layout, bits, stream), "blend_bits");
}

#include "rosa/kernels/pack_bits_device_types.inc"

}  // namespace rosa::kernels
