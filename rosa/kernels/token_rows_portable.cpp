// The arithmetic of single tokens, compiled with this file's own instruction set (CMakeLists.txt).
#define ROSA_KERNEL_NAMESPACE portable
#define ROSA_KERNEL_LANES 4
#include "rosa/kernels/token_rows_impl.h"
