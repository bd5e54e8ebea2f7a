#include "rosa/kernels/device_launch.h"

#include "base/error.h"
#include "rosa/kernels/pack_bits_kernels.h"

namespace rosa::kernels {

void check_launch(int code, const char* kernel) {
  base::require<base::Error>(code == 0, "the CUDA kernel of ", kernel, " did not start: ", device_error_text(code),
                             " (code ", code, ")");
}

}  // namespace rosa::kernels
