// The fused proxies, compiled with this file's own instruction set (CMakeLists.txt).
#define ROSA_KERNEL_NAMESPACE avx2
#define ROSA_KERNEL_LANES 8
#include "rosa/kernels/dense_surrogate_impl.h"
#include "rosa/kernels/soft_rosa_impl.h"
#include "rosa/kernels/sufa_impl.h"
