// The CUDA runtime on host memory: a thread a stream, events with the real meaning (a wait is for the record that was
// the last when the wait was called; an event never recorded is complete), allocations that are poisoned and watched.
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <utility>

#include "fake_gpu.h"
#include "worker.h"

struct CUstream_st {
  CUstream_st(uint64_t seed, int stream_number, int stream_device)
      : number(stream_number), device(stream_device), worker(seed) {}
  const int number;
  const int device;
  fake_gpu::Worker worker;
};

namespace {

// Shared with the tasks in streams, which may come after cudaEventDestroy.
struct EventState {
  std::mutex mutex;
  std::condition_variable changed;
  int64_t num_recorded = 0;
  int64_t num_completed = 0;
  std::chrono::steady_clock::time_point completed_at;
};

}  // namespace

struct CUevent_st {
  int number = 0;
  int device = -1;  // of the first record; -1 before
  bool has_time = false;
  std::shared_ptr<EventState> state = std::make_shared<EventState>();
};

namespace fake_gpu {
namespace {

template <class... Parts>
std::string text_of(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

struct Failure {
  std::string function;
  int code = 0;
  int num_good_calls = 0;
};

struct Process {
  std::mutex mutex;
  std::vector<std::string> history;
  std::vector<std::string> violations;
  std::vector<Failure> failures;
  std::map<const std::byte*, size_t> allocations;
  uint64_t seed =
      std::getenv("ROSA_FAKE_SEED") != nullptr ? std::strtoull(std::getenv("ROSA_FAKE_SEED"), nullptr, 10) : 1;
  int num_streams = 0;
  int num_events = 0;
  int num_living_events = 0;
};

// Never destroyed: streams may outlive main.
Process& process() {
  static Process* the_process = new Process;
  return *the_process;
}

thread_local int current_device = 0;

// The failure that a test asked for, or else the call goes into the history.
template <class... Parts>
cudaError_t begin(const char* function, const Parts&... parts) {
  int code = 0;
  if (takes_failure(function, code)) return static_cast<cudaError_t>(code);
  note_call(text_of(function, parts...));
  return cudaSuccess;
}

}  // namespace

std::vector<std::string> take_history() {
  const std::lock_guard lock(process().mutex);
  return std::exchange(process().history, {});
}

std::vector<std::string> take_violations() {
  const std::lock_guard lock(process().mutex);
  return std::exchange(process().violations, {});
}

void note_call(const std::string& text) {
  const std::lock_guard lock(process().mutex);
  process().history.push_back(text);
}

void note_violation(const std::string& text) {
  const std::lock_guard lock(process().mutex);
  process().violations.push_back(text);
}

void set_seed(uint64_t value) {
  const std::lock_guard lock(process().mutex);
  process().seed = value;
}

uint64_t seed() {
  const std::lock_guard lock(process().mutex);
  return process().seed;
}

void fail_call(const std::string& function, int code, int num_good_calls) {
  const std::lock_guard lock(process().mutex);
  process().failures.push_back({function, code, num_good_calls});
}

bool takes_failure(const char* function, int& code) {
  const std::lock_guard lock(process().mutex);
  std::vector<Failure>& failures = process().failures;
  for (auto failure = failures.begin(); failure != failures.end(); ++failure) {
    if (failure->function != function || failure->num_good_calls-- > 0) continue;
    code = failure->code;
    failures.erase(failure);
    return true;
  }
  return false;
}

void hold(cudaStream_t stream) { stream->worker.set_held(true); }
void let_go(cudaStream_t stream) { stream->worker.set_held(false); }

int num_living_events() {
  const std::lock_guard lock(process().mutex);
  return process().num_living_events;
}

bool is_device_memory(const void* pointer, size_t size) {
  const std::lock_guard lock(process().mutex);
  const std::byte* begin = static_cast<const std::byte*>(pointer);
  auto after = process().allocations.upper_bound(begin);
  if (after == process().allocations.begin()) return false;
  const auto& [start, length] = *std::prev(after);
  return begin + size <= start + length;
}

int device_of(cudaStream_t stream) { return stream->device; }
int number_of(cudaStream_t stream) { return stream->number; }

}  // namespace fake_gpu

using fake_gpu::begin;
using fake_gpu::note_violation;
using fake_gpu::process;

extern "C" {

const char* cudaGetErrorString(cudaError_t error) {
  switch (static_cast<int>(error)) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return "unknown error";
  }
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = fake_gpu::kNumDevices;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = fake_gpu::current_device;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= fake_gpu::kNumDevices) return cudaErrorInvalidDevice;
  fake_gpu::current_device = device;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, size_t size) {
  *pointer = std::malloc(std::max<size_t>(size, 1));
  std::memset(*pointer, 0xA5, size);  // what is used before it was written shows
  const std::lock_guard lock(process().mutex);
  process().allocations[static_cast<std::byte*>(*pointer)] = size;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  const std::lock_guard lock(process().mutex);
  const auto entry = process().allocations.find(static_cast<std::byte*>(pointer));
  if (entry == process().allocations.end()) return cudaErrorInvalidValue;
  std::memset(pointer, 0xDD, entry->second);
  process().allocations.erase(entry);
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  const std::lock_guard lock(process().mutex);
  const int number = ++process().num_streams;
  *stream = new CUstream_st(process().seed * 1000003 + static_cast<uint64_t>(number), number, fake_gpu::current_device);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = begin("cudaStreamSynchronize", " stream ", stream->number)) return error;
  stream->worker.drain();
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  stream->worker.give([function, data] { function(data); });
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind, cudaStream_t stream) {
  stream->worker.give([=] { std::memmove(to, from, size); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (const cudaError_t error = begin("cudaEventCreateWithFlags")) return error;
  const std::lock_guard lock(process().mutex);
  *event = new CUevent_st;
  (*event)->number = ++process().num_events;
  (*event)->has_time = (flags & cudaEventDisableTiming) == 0;
  ++process().num_living_events;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard lock(process().mutex);
  --process().num_living_events;
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t error = begin("cudaEventRecord", " event ", event->number, " stream ", stream->number)) {
    return error;
  }
  if (stream->device != fake_gpu::current_device || (event->device >= 0 && event->device != stream->device)) {
    note_violation("cudaEventRecord: event, stream and current device differ");
    return cudaErrorInvalidResourceHandle;
  }
  event->device = stream->device;
  const std::shared_ptr<EventState> state = event->state;
  int64_t record = 0;
  {
    const std::lock_guard lock(state->mutex);
    record = ++state->num_recorded;
  }
  stream->worker.give([state, record] {
    const std::lock_guard lock(state->mutex);
    state->num_completed = std::max(state->num_completed, record);
    state->completed_at = std::chrono::steady_clock::now();
    state->changed.notify_all();
  });
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t error = begin("cudaStreamWaitEvent", " stream ", stream->number, " event ", event->number)) {
    return error;
  }
  const std::shared_ptr<EventState> state = event->state;
  int64_t record = 0;
  {
    const std::lock_guard lock(state->mutex);
    record = state->num_recorded;
  }
  if (record == 0) note_violation("cudaStreamWaitEvent: the event was never recorded, so that nothing is waited for");
  stream->worker.give([state, record] {
    std::unique_lock lock(state->mutex);
    state->changed.wait(lock, [&] { return state->num_completed >= record; });
  });
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  int code = 0;
  if (fake_gpu::takes_failure("cudaEventQuery", code)) return static_cast<cudaError_t>(code);
  const std::lock_guard lock(event->state->mutex);
  return event->state->num_completed >= event->state->num_recorded ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t error = begin("cudaEventSynchronize", " event ", event->number)) return error;
  std::unique_lock lock(event->state->mutex);
  const int64_t record = event->state->num_recorded;
  event->state->changed.wait(lock, [&] { return event->state->num_completed >= record; });
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (const cudaError_t error = begin("cudaEventElapsedTime", " event ", start->number, " event ", end->number)) {
    return error;
  }
  if (!start->has_time || !end->has_time) {
    note_violation("cudaEventElapsedTime: an event has no time");
    return cudaErrorInvalidResourceHandle;
  }
  const std::scoped_lock lock(start->state->mutex, end->state->mutex);
  for (const cudaEvent_t event : {start, end}) {
    if (event->state->num_completed < event->state->num_recorded) return cudaErrorNotReady;
  }
  *milliseconds =
      std::chrono::duration<float, std::milli>(end->state->completed_at - start->state->completed_at).count();
  return cudaSuccess;
}

}  // extern "C"
