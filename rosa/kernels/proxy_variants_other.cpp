// The forms of the fused proxies on processors other than x86-64.
#include "rosa/kernels/proxy_variants.h"

namespace rosa::kernels {

ProxyVariants proxy_variants() { return {{ROSA_PROXY_VARIANT(portable), {}, {}}, 1}; }

}  // namespace rosa::kernels
