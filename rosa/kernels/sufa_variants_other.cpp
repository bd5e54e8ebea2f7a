// The forms of the fused SUFA on processors other than x86-64.
#include "rosa/kernels/sufa_variants.h"

namespace rosa::kernels {

SufaVariants sufa_variants() { return {{{"portable", portable::sufa_forward, portable::sufa_backward}, {}, {}}, 1}; }

}  // namespace rosa::kernels
