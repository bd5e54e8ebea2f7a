// DeviceSpan: what a device does, in the trace (base/trace.h). On the CPU the span of the calling thread; on a GPU from
// when its current stream reaches the first place to when it reaches the last, on a line of its own.
// device_span_cuda.cpp or device_span_none.cpp, CMake picks one.
#pragma once

#include <c10/core/Device.h>

#include <string>

#include "base/trace.h"

namespace rosa {

class DeviceSpan {
 public:
  // From here to the destructor, of what `device`'s current stream gets meanwhile. `track`: the GPU's line in the
  // trace. Costs an atomic read where no trace is on.
  DeviceSpan(at::Device device, const char* category, const char* name,
             std::initializer_list<std::pair<const char*, int64_t>> arguments = {}, const char* track = "device")
      : on_(base::is_tracing()), device_(device) {
    if (on_) begin(category, name, arguments, track);
  }
  ~DeviceSpan() {
    if (on_) end();
  }
  DeviceSpan(const DeviceSpan&) = delete;
  DeviceSpan& operator=(const DeviceSpan&) = delete;

 private:
  struct Event;

  void begin(const char* category, const char* name, base::TraceArguments arguments, const char* track);
  void end();

  bool on_;
  at::Device device_;
  Event* event_ = nullptr;  // owned; on a GPU the stream's last callback ends it
};

}  // namespace rosa
