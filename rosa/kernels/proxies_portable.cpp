// The fused proxies, compiled with this file's own instruction set (CMakeLists.txt).
#define ROSA_KERNEL_NAMESPACE portable
#define ROSA_KERNEL_LANES 4
#include "rosa/kernels/dense_surrogate_impl.h"
#include "rosa/kernels/soft_rosa_impl.h"
#include "rosa/kernels/sufa_impl.h"
