// check_launch: what launchers of CUDA kernels do with an error code (builds with CUDA: device_launch.cpp).
// refuse_without_cuda: what their stubs do (builds without: device_launch_none.cpp). CMake picks one.
#pragma once

namespace rosa::kernels {

// Throws base::Error naming the kernel unless `code`, a cudaError_t as a number, is success.
void check_launch(int code, const char* kernel);
// Throws base::ConfigError naming the function.
[[noreturn]] void refuse_without_cuda(const char* function);

}  // namespace rosa::kernels
