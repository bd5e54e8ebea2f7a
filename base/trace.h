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

// Which steps are traced, so that a file stays small: `num_steps` of them after the first `num_skipped`.
struct TraceWindow {
  int64_t num_skipped = 0;
  int64_t num_steps = 0;  // 0: everything is traced, from start to stop
};

// Begins the trace of this process in `file`, which is replaced. `rank` becomes the process number of the events. With
// a window the spans begin with the first step it holds. The file is a whole JSON array after every write, so that the
// trace of a killed run can be read up to its last step; in a pipe the array ends with stop_trace(). Throws FileError
// where the file can't be opened.
void start_trace(const std::filesystem::path& file, int rank, TraceWindow window = {});

// Says that step `step` begins: later spans name it, and the window counts it.
void begin_trace_step(int64_t step);

// Ends the trace and closes the file; nothing where none was started. A write that failed (a full disk) costs the trace
// its rest, not the run.
void stop_trace();

// Writes the events of the files `parts`, as start_trace() leaves them, into one `file`, atomically. Throws FileError.
void merge_traces(const std::vector<std::filesystem::path>& parts, const std::filesystem::path& file);

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
