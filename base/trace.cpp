#include "base/trace.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace rosa::base {
namespace internal {
std::atomic<bool> tracing = false;
}
namespace {

using nlohmann::json;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// Ranks' files have names that anyone can foresee: a link that was laid there is not followed.
std::FILE* open_file(const std::filesystem::path& file) {
  const int named = output_target(file).descriptor;
  const int descriptor = named >= 0 ? ::fcntl(named, F_DUPFD_CLOEXEC, 0)
                                    : ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor < 0) throw_file_error("open", file, errno);
  return ::fdopen(descriptor, "w");
}

constexpr size_t kBufferBytes = 1 << 16;
constexpr int64_t kNoStep = -1;

struct Trace {
  std::unique_ptr<std::FILE, CloseFile> file;
  int rank = 0;
  TraceTime start;
  TraceWindow window;
  int64_t num_steps_begun = 0;
  int64_t step = kNoStep;
  std::string buffer;                 // whole lines that the file lacks
  std::map<std::string, int> tracks;  // lines of their own, numbered after all threads

  void write(const json& event) {
    (buffer += event.dump(-1, ' ', false, json::error_handler_t::replace)) += ",\n";
    if (buffer.size() >= kBufferBytes) flush();
  }
  void flush() {
    if (file == nullptr) return;
    const bool ok = std::fwrite(buffer.data(), 1, buffer.size(), file.get()) == buffer.size();
    buffer.clear();
    if (ok) return;
    log_warning(concat("the trace can't be written (", std::strerror(errno), "): it ends here"));
    internal::tracing = false;
    file.reset();
  }
  void name_track(int number, const std::string& name) {
    write({{"ph", "M"}, {"name", "thread_name"}, {"pid", rank}, {"tid", number}, {"args", {{"name", name}}}});
  }
  double microseconds(TraceTime time) const { return std::chrono::duration<double, std::micro>(time - start).count(); }
};

std::mutex mutex;
Trace trace;
// Outlives the traces: a thread is named once, when it begins.
std::map<int, std::string> thread_names;

constexpr int kFirstTrack = 1 << 20;

int thread_number() {
  static std::atomic<int> count = 0;
  thread_local const int number = ++count;
  return number;
}

}  // namespace

void start_trace(const std::filesystem::path& file, int rank, TraceWindow window) {
  const std::lock_guard lock(mutex);
  trace = {};
  trace.file.reset(open_file(file));
  trace.rank = rank;
  trace.window = window;
  trace.start = std::chrono::steady_clock::now();
  std::setvbuf(trace.file.get(), nullptr, _IONBF, 0);  // what is buffered is the lines of `buffer`
  trace.buffer = "[\n";
  trace.write({{"ph", "M"}, {"name", "process_name"}, {"pid", rank}, {"args", {{"name", concat("rank ", rank)}}}});
  for (const auto& [number, name] : thread_names) trace.name_track(number, name);
  trace.flush();
  internal::tracing = window.num_steps == 0;
}

void begin_trace_step(int64_t step) {
  const std::lock_guard lock(mutex);
  trace.flush();
  if (trace.file == nullptr) return;
  trace.step = step;
  const int64_t number = trace.num_steps_begun++ - trace.window.num_skipped;
  if (trace.window.num_steps > 0) internal::tracing = number >= 0 && number < trace.window.num_steps;
}

void stop_trace() {
  const std::lock_guard lock(mutex);
  internal::tracing = false;
  if (trace.file == nullptr) return;
  // The format has no comma before its end; an empty event takes the last one's.
  trace.buffer += "{}]\n";
  trace.flush();
  trace = {};
}

void merge_traces(const std::vector<std::filesystem::path>& parts, const std::filesystem::path& file) {
  std::string merged = "[\n";
  for (const std::filesystem::path& part : parts) {
    std::ifstream stream(part);
    require<FileError>(stream.is_open(), "can't open the trace '", part.string(), "'");
    for (std::string line; std::getline(stream, line);) {
      // Every event is a line; a part that was cut off ends within one at worst.
      if (line.starts_with("{\"") && line.ends_with("},")) (merged += line) += "\n";
    }
  }
  write_file_atomically(file, merged + "{}]\n");
}

void name_trace_thread(const std::string& name) {
  const std::lock_guard lock(mutex);
  thread_names[thread_number()] = name;
  if (trace.file != nullptr) trace.name_track(thread_number(), name);
}

void trace_span(const char* category, const std::string& name, TraceTime begin, TraceTime end,
                const TraceArguments& arguments, const std::string& track) {
  if (!is_tracing()) return;
  json event = {{"ph", "X"}, {"cat", category}, {"name", name}};
  json values = json::object();
  for (const auto& [key, value] : arguments) values[key] = value;
  const std::lock_guard lock(mutex);
  if (trace.file == nullptr) return;
  if (trace.step != kNoStep) values.emplace("step", trace.step);
  if (!values.empty()) event["args"] = std::move(values);
  int number = thread_number();
  if (!track.empty()) {
    const auto [entry, is_new] = trace.tracks.try_emplace(track, kFirstTrack + static_cast<int>(trace.tracks.size()));
    number = entry->second;
    if (is_new) trace.name_track(number, track);
  }
  event["pid"] = trace.rank;
  event["tid"] = number;
  event["ts"] = trace.microseconds(begin);
  event["dur"] = std::chrono::duration<double, std::micro>(end - begin).count();
  trace.write(event);
}

}  // namespace rosa::base
