// The arithmetic of single tokens, compiled with this file's own instruction set (CMakeLists.txt).
#define ROSA_KERNEL_NAMESPACE avx2
#define ROSA_KERNEL_LANES 8
#include "rosa/kernels/token_rows_impl.h"
