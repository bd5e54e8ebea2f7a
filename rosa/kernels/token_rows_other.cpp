// The arithmetic of single tokens on processors other than x86-64.
#include "rosa/kernels/token_row_variants.h"

namespace rosa::kernels {

TokenRowVariants token_row_variants() { return {{ROSA_TOKEN_ROWS(portable), {}, {}}, 1}; }

}  // namespace rosa::kernels
