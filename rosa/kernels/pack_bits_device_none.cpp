// The form of builds without CUDA.
#include "rosa/kernels/device_launch.h"
#include "rosa/kernels/pack_bits_device.h"

namespace rosa::kernels {

template <class Logit, class Symbol>
void pack_bits_on_device(const Logit*, const LogitLayout&, Symbol*, DeviceStream) {
  refuse_without_cuda("pack_bits_on_device");
}

template <class Symbol, class Value>
void unpack_bits_on_device(const Symbol*, const LogitLayout&, Value*, DeviceStream) {
  refuse_without_cuda("unpack_bits_on_device");
}

template <class Symbol, class Value>
void blend_bits_on_device(const Symbol*, const LogitLayout&, const Value*, Value, const LogitLayout&, Value*,
                          DeviceStream) {
  refuse_without_cuda("blend_bits_on_device");
}

#include "rosa/kernels/pack_bits_device_types.inc"

}  // namespace rosa::kernels
