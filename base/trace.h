// The trace of a process: what its threads did when, as a file in Chrome's trace format (JSON array of events), which
// Perfetto and chrome://tracing draw. Off by default; a span then costs one atomic read. Any thread may trace.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace rosa::base {

// Begins the trace of this process in `file`, which is replaced. `rank` becomes the process number of the events.
// Events are written as they come and the format allows a missing end, so that the trace of a killed run can be read.
// Throws FileError where the file can't be opened.
void start_trace(const std::filesystem::path& file, int rank);

// Ends the trace and closes the file; nothing where none was started.
void stop_trace();

namespace internal {
extern std::atomic<bool> tracing;
}
inline bool is_tracing() { return internal::tracing.load(std::memory_order_relaxed); }

using TraceTime = std::chrono::steady_clock::time_point;
using TraceArguments = std::vector<std::pair<const char*, int64_t>>;

// Names the calling thread in the trace, also in one that is started later.
void name_trace_thread(const std::string& name);

// Writes one span of `category` ("step", "matching", "device", "copy", "wait", "communication" ...). `track` is empty
// for the calling thread, else the name of a line of its own (a device's stream). Nothing where no trace is on.
void trace_span(const char* category, const std::string& name, TraceTime begin, TraceTime end,
                const TraceArguments& arguments = {}, const std::string& track = {});

// The span from construction to destruction, on the calling thread.
class TraceSpan {
 public:
  TraceSpan(const char* category, const char* name,
            std::initializer_list<std::pair<const char*, int64_t>> arguments = {})
      : on_(is_tracing()), category_(category), name_(name) {
    if (!on_) return;
    arguments_ = arguments;
    begin_ = std::chrono::steady_clock::now();
  }
  ~TraceSpan() {
    if (on_) trace_span(category_, name_, begin_, std::chrono::steady_clock::now(), arguments_);
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  bool on_;
  const char* category_;
  const char* name_;
  TraceArguments arguments_;
  TraceTime begin_;
};

}  // namespace rosa::base
