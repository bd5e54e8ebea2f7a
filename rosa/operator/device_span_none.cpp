// The form of builds without CUDA: the calling thread is the device.
#include <utility>

#include "rosa/operator/device_span.h"

namespace rosa {

struct DeviceSpan::Event {
  const char* category;
  const char* name;
  base::TraceArguments arguments;
  base::TraceTime begin;
};

void DeviceSpan::begin(const char* category, const char* name, base::TraceArguments arguments, const char*) {
  event_ = new Event{category, name, std::move(arguments), std::chrono::steady_clock::now()};
}

void DeviceSpan::end() {
  base::trace_span(event_->category, event_->name, event_->begin, std::chrono::steady_clock::now(), event_->arguments);
  delete event_;
}

}  // namespace rosa
