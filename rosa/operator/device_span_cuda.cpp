// The form of builds with CUDA: the stream calls back where it reaches the span's ends.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <memory>
#include <utility>

#include "rosa/operator/device_span.h"

namespace rosa {

struct DeviceSpan::Event {
  const char* category;
  const char* name;
  base::TraceArguments arguments;
  std::string track;  // empty on the CPU
  base::TraceTime begin;

  // Callbacks of the stream; they call nothing of CUDA.
  static void reached_begin(void* event) { static_cast<Event*>(event)->begin = std::chrono::steady_clock::now(); }
  static void reached_end(void* pointer) {
    const std::unique_ptr<Event> event(static_cast<Event*>(pointer));
    base::trace_span(event->category, event->name, event->begin, std::chrono::steady_clock::now(), event->arguments,
                     event->track);
  }
};

void DeviceSpan::begin(const char* category, const char* name, base::TraceArguments arguments, const char* track) {
  event_ = new Event{category, name, std::move(arguments), "", std::chrono::steady_clock::now()};
  if (!device_.is_cuda()) return;
  event_->track = track;
  C10_CUDA_CHECK(cudaLaunchHostFunc(c10::cuda::getCurrentCUDAStream(device_.index()), &Event::reached_begin, event_));
}

void DeviceSpan::end() {
  if (!device_.is_cuda()) return Event::reached_end(event_);
  // Destructors don't throw: a stream that takes no callback has lost its device, which the next call reports.
  C10_CUDA_CHECK_WARN(
      cudaLaunchHostFunc(c10::cuda::getCurrentCUDAStream(device_.index()), &Event::reached_end, event_));
}

}  // namespace rosa
