#include "rosa/kernels/proxy_variants.h"

namespace rosa::kernels {

const ProxyVariant& chosen_proxy_variant() {
  static const ProxyVariant variant = proxy_variants().variants[0];
  return variant;
}

const char* proxy_instruction_set() { return chosen_proxy_variant().name; }

}  // namespace rosa::kernels
