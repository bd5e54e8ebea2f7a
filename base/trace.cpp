#include "base/trace.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace rosa::base {
namespace internal {
std::atomic<bool> tracing = false;
}
namespace {

using nlohmann::json;

// The file of a trace: a JSON array that is whole after every write. Each write puts the end of the array behind its
// lines, and the next one begins in its place; one that is killed in between leaves the array as it was.
class ArrayFile {
 public:
  // Ranks' files have names that anyone can foresee: a link that was laid there is not followed.
  explicit ArrayFile(const std::filesystem::path& file) {
    const int named = output_target(file).descriptor;
    descriptor_ = named >= 0
                      ? ::fcntl(named, F_DUPFD_CLOEXEC, 0)
                      : ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
    require<FileError>(descriptor_ >= 0 || errno != ENXIO, "nobody reads the pipe '", file.string(), "'");
    if (descriptor_ < 0) throw_file_error("open", file, errno);
    if (named < 0) ::fcntl(descriptor_, F_SETFL, ::fcntl(descriptor_, F_GETFL) & ~O_NONBLOCK);
    struct stat status = {};
    can_go_back_ = named < 0 && ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  }
  ~ArrayFile() { ::close(descriptor_); }
  ArrayFile(const ArrayFile&) = delete;
  ArrayFile& operator=(const ArrayFile&) = delete;

  // `events`, each a line without its end. False where that failed (errno): the file keeps what it had.
  bool append(const std::vector<std::string>& events) {
    std::string text;
    for (const std::string& event : events) {
      text += size_ == 0 && text.empty() ? "[\n" : ",\n";
      text += event;
    }
    if (can_go_back_) text += kEnd;
    if (!write_all(text)) {
      const int error = errno;
      if (can_go_back_ && (::ftruncate(descriptor_, size_) != 0 || !write_all(size_ > 0 ? kEnd : "")))
        can_go_back_ = false;
      errno = error;
      return false;
    }
    size_ += static_cast<off_t>(text.size() - (can_go_back_ ? kEnd.size() : 0));
    return true;
  }
  // Where every write could not do it.
  void end() {
    if (!can_go_back_) write_all(std::string(kEnd));
  }

 private:
  static constexpr std::string_view kEnd = "\n]\n";

  bool write_all(std::string_view text) {
    off_t at = size_;
    while (!text.empty()) {
      const ssize_t done = can_go_back_ ? ::pwrite(descriptor_, text.data(), text.size(), at)
                                        : ::write(descriptor_, text.data(), text.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return false;
      text.remove_prefix(static_cast<size_t>(done));
      at += done;
    }
    return true;
  }

  int descriptor_ = -1;
  bool can_go_back_ = false;  // not in a pipe
  off_t size_ = 0;            // without the end
};

constexpr size_t kBufferBytes = 1 << 16;
constexpr int64_t kNoStep = -1;

struct Trace {
  std::unique_ptr<ArrayFile> file;
  int rank = 0;
  TraceTime start;
  TraceWindow window;
  int64_t num_steps_begun = 0;
  int64_t step = kNoStep;
  std::vector<std::string> events;    // that the file lacks
  size_t num_bytes = 0;               // of them
  std::map<std::string, int> tracks;  // lines of their own, numbered after all threads

  void write(const json& event) {
    num_bytes += events.emplace_back(event.dump(-1, ' ', false, json::error_handler_t::replace)).size();
    if (num_bytes >= kBufferBytes) flush();
  }
  void flush() {
    if (file == nullptr || events.empty()) return;
    const bool ok = file->append(events);
    events.clear();
    num_bytes = 0;
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
  trace.file = std::make_unique<ArrayFile>(file);
  trace.rank = rank;
  trace.window = window;
  trace.start = std::chrono::steady_clock::now();
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
  trace.flush();
  if (trace.file != nullptr) trace.file->end();
  trace = {};
}

void merge_traces(const std::vector<std::filesystem::path>& parts, const std::filesystem::path& file) {
  std::string merged;
  for (const std::filesystem::path& part : parts) {
    std::ifstream stream(part);
    require<FileError>(stream.is_open(), "can't open the trace '", part.string(), "'");
    for (std::string line; std::getline(stream, line);) {
      // Every event is a line of its own.
      if (line.ends_with(',')) line.pop_back();
      if (line.starts_with("{\"") && line.ends_with('}')) merged += concat(merged.empty() ? "[\n" : ",\n", line);
    }
  }
  write_file_atomically(file, (merged.empty() ? "[" : merged) + "\n]\n");
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
