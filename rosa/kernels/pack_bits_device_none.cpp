// The form of builds without CUDA.
#include "base/error.h"
#include "rosa/kernels/pack_bits_device.h"

namespace rosa::kernels {
namespace {

[[noreturn]] void refuse(const char* function) {
  throw base::ConfigError(base::concat(function, ": this build has no CUDA; build with ROSA_CUDA=ON or use the CPU"));
}

}  // namespace

template <class Logit, class Symbol>
void pack_bits_on_device(const Logit*, const LogitLayout&, Symbol*, DeviceStream) {
  refuse("pack_bits_on_device");
}

template <class Symbol, class Value>
void unpack_bits_on_device(const Symbol*, const LogitLayout&, Value*, DeviceStream) {
  refuse("unpack_bits_on_device");
}

template <class Symbol, class Value>
void blend_bits_on_device(const Symbol*, const LogitLayout&, const Value*, Value, const LogitLayout&, Value*,
                          DeviceStream) {
  refuse("blend_bits_on_device");
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
