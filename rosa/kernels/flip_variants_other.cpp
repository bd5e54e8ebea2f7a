// The forms of the flip kernels on processors other than x86-64.
#include "rosa/kernels/flip_variants.h"

namespace rosa::kernels {

FlipVariants flip_variants() { return {{ROSA_FLIP_VARIANT(portable), {}, {}}, 1}; }

}  // namespace rosa::kernels
