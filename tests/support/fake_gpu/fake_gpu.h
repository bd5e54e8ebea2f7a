// What tests ask of the made-up CUDA runtime (libfake_cudart.so) and NCCL (libfake_nccl.so), which work on host memory:
// what was called, what was wrong about it, and what is to go wrong next. Every stream is a thread that starts each of
// its tasks late, by a seeded random time, so that streams overtake each other wherever no event keeps them from it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fake_gpu {

inline constexpr int kNumDevices = 8;

// Calls of this process since the last take, such as "cudaEventRecord event 3 stream 2" or "ncclAllReduce float32 7 sum
// stream 2 comm 1", in the order in which they were made. Polling (ncclCommGetAsyncError, cudaEventQuery) is left out.
std::vector<std::string> take_history();
// What no program should do, since the last take; empty for a correct one.
std::vector<std::string> take_violations();

// The seed of the delays of streams made from now on. Environment: ROSA_FAKE_SEED.
void set_seed(uint64_t seed);
// The call after the next `num_good_calls` of `function` ("cudaEventRecord", "ncclAllReduce" ...) fails with `code`.
void fail_call(const std::string& function, int code, int num_good_calls = 0);
// Stops the stream before its next task until let_go(), so that a test sees what goes on without it.
void hold(cudaStream_t stream);
void let_go(cudaStream_t stream);
int num_living_events();

// --- used by the other fake
void note_call(const std::string& text);
void note_violation(const std::string& text);
// True when `function` is to fail now; then `code` is what it returns.
bool takes_failure(const char* function, int& code);
// True when the bytes lie in one living allocation of cudaMalloc.
bool is_device_memory(const void* pointer, size_t size);
int device_of(cudaStream_t stream);
int number_of(cudaStream_t stream);
uint64_t seed();

}  // namespace fake_gpu
