// The form of builds with CUDA: launches the kernels and turns their errors into exceptions.
#include "rosa/kernels/pack_bits_device.h"

#include "base/error.h"
#include "rosa/kernels/pack_bits_kernels.h"

namespace rosa::kernels {
namespace {

void check(int code, const char* kernel) {
  base::require<base::Error>(code == 0, "the CUDA kernel of ", kernel, " did not start: ", device_error_text(code),
                             " (code ", code, ")");
}

}  // namespace

template <class Logit, class Symbol>
void pack_bits_on_device(const Logit* logits, const LogitLayout& layout, Symbol* symbols, DeviceStream stream) {
  check(launch_pack_bits(logits, layout, symbols, stream), "pack_bits");
}

template <class Symbol, class Value>
void unpack_bits_on_device(const Symbol* symbols, const LogitLayout& layout, Value* bits, DeviceStream stream) {
  check(launch_unpack_bits(symbols, layout, bits, stream), "unpack_bits");
}

template <class Symbol, class Value>
void blend_bits_on_device(const Symbol* symbols, const LogitLayout& soft_layout, const Value* soft, Value alpha,
                          const LogitLayout& layout, Value* bits, DeviceStream stream) {
  check(launch_blend_bits(symbols, soft_layout, soft, alpha, layout, bits, stream), "blend_bits");
}

template void pack_bits_on_device(const float*, const LogitLayout&, uint8_t*, DeviceStream);
template void pack_bits_on_device(const float*, const LogitLayout&, int64_t*, DeviceStream);
template void pack_bits_on_device(const double*, const LogitLayout&, uint8_t*, DeviceStream);
template void pack_bits_on_device(const double*, const LogitLayout&, int64_t*, DeviceStream);
template void unpack_bits_on_device(const uint8_t*, const LogitLayout&, float*, DeviceStream);
template void unpack_bits_on_device(const uint8_t*, const LogitLayout&, double*, DeviceStream);
template void unpack_bits_on_device(const int64_t*, const LogitLayout&, float*, DeviceStream);
template void unpack_bits_on_device(const int64_t*, const LogitLayout&, double*, DeviceStream);
template void blend_bits_on_device(const uint8_t*, const LogitLayout&, const float*, float, const LogitLayout&, float*,
                                   DeviceStream);
template void blend_bits_on_device(const uint8_t*, const LogitLayout&, const double*, double, const LogitLayout&,
                                   double*, DeviceStream);
template void blend_bits_on_device(const int64_t*, const LogitLayout&, const float*, float, const LogitLayout&, float*,
                                   DeviceStream);
template void blend_bits_on_device(const int64_t*, const LogitLayout&, const double*, double, const LogitLayout&,
                                   double*, DeviceStream);

}  // namespace rosa::kernels
