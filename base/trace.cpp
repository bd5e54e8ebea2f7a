#include "base/trace.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace rosa::base {
namespace internal {
std::atomic<bool> tracing = false;
}
namespace {

using nlohmann::json;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

struct Trace {
  std::unique_ptr<std::FILE, CloseFile> file;
  int rank = 0;
  TraceTime start;
  std::map<std::string, int> tracks;  // lines of their own, numbered after all threads

  void write(const json& event) {
    const std::string line = event.dump() + ",\n";
    std::fwrite(line.data(), 1, line.size(), file.get());
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

void start_trace(const std::filesystem::path& file, int rank) {
  const std::lock_guard lock(mutex);
  trace = {};
  trace.file.reset(std::fopen(file.c_str(), "we"));
  require<FileError>(trace.file != nullptr, "can't open the trace '", file.string(), "': ", std::strerror(errno));
  trace.rank = rank;
  trace.start = std::chrono::steady_clock::now();
  std::fputs("[\n", trace.file.get());
  trace.write({{"ph", "M"}, {"name", "process_name"}, {"pid", rank}, {"args", {{"name", concat("rank ", rank)}}}});
  for (const auto& [number, name] : thread_names) trace.name_track(number, name);
  internal::tracing = true;
}

void stop_trace() {
  const std::lock_guard lock(mutex);
  internal::tracing = false;
  if (trace.file == nullptr) return;
  // The format has no comma before its end; an empty event takes the last one's.
  std::fputs("{}]\n", trace.file.get());
  trace = {};
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
  if (!arguments.empty()) {
    json values = json::object();
    for (const auto& [key, value] : arguments) values[key] = value;
    event["args"] = std::move(values);
  }
  const std::lock_guard lock(mutex);
  if (trace.file == nullptr) return;
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
