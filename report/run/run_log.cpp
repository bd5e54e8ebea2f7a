#include "report/run/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <functional>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"

namespace rosa::report {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStoppedEarly = "stopped early after ";  // behind the stage's title, where there is one

constexpr std::size_t kMaxLineBytes = 4096;    // of a log's line; the rest of it is left out
constexpr std::size_t kMaxEvents = 2000;       // of a run; warnings beyond it are left out
constexpr std::size_t kMaxTextBytes = 400;     // of an event
constexpr int64_t kMaxFailureBytes = 1 << 20;  // of logs/failure_*.txt

void for_each_line(const fs::path& path, const std::function<void(std::string_view)>& use) {
  const base::FileDescriptor file = base::open_regular_file(path, O_RDONLY);
  std::string chunk(std::size_t{1} << 16, '\0'), line;
  while (true) {
    const ssize_t count = ::read(file.get(), chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) base::throw_file_error("read", path, errno);
    if (count == 0) return;  // a line without an end is still being written
    std::string_view rest(chunk.data(), static_cast<std::size_t>(count));
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      line.append(rest.substr(0, std::min(end, kMaxLineBytes - std::min(kMaxLineBytes, line.size()))));
      if (end < rest.size()) {
        use(line);
        line.clear();
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
}

// The whole number at the beginning of a text, behind blanks.
std::optional<double> number_at(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return {};
  return static_cast<double>(number);
}

// The number behind the last `word` of a text.
std::optional<double> number_behind(std::string_view text, std::string_view word) {
  const std::size_t place = text.rfind(word);
  return place == text.npos ? std::nullopt : number_at(text.substr(place + word.size()));
}

struct LogLine {
  std::string_view level, text;
};

// "08:29:40.913 info [rank 0] text", the rank only where there are several.
std::optional<LogLine> parse(std::string_view line) {
  constexpr std::size_t kTimeBytes = 13;  // with the blank
  if (line.size() < kTimeBytes || line[2] != ':' || line[5] != ':' || line[8] != '.') return {};
  line.remove_prefix(kTimeBytes);
  const std::size_t end = line.find(' ');
  if (end == line.npos) return {};
  LogLine found = {line.substr(0, end), line.substr(end + 1)};
  if (found.text.starts_with("[rank ")) {
    const std::size_t rank_end = found.text.find("] ");
    if (rank_end != found.text.npos) found.text.remove_prefix(rank_end + 2);
  }
  return found;
}

class LogReader {
 public:
  explicit LogReader(std::vector<Event>& events) : events_(events) {}

  void read(const fs::path& path) {
    step_ = {};
    for_each_line(path, [this](std::string_view line) {
      if (const auto parsed = parse(line)) use(*parsed);
    });
  }

  void add_failure(std::string_view text) { add(EventKind::failure, {}, text); }

 private:
  void use(const LogLine& line) {
    if (line.level == "error" || line.level == "critical") return add(EventKind::failure, step_, line.text);
    if (line.level == "warning") {
      const auto step = number_behind(line.text, "step ");
      return add(EventKind::warning, step ? step : step_, line.text);
    }
    if (line.text.starts_with("step ")) {
      step_ = number_at(line.text.substr(5));
    } else if (line.text.starts_with("evaluation after step ")) {
      step_ = number_at(line.text.substr(22));
    } else if (line.text.starts_with("resumed from ")) {
      step_ = number_behind(line.text, " after ");
      add(EventKind::resume, step_, line.text);
    } else if (line.text.starts_with("rolled back to ")) {
      step_ = number_behind(line.text, "step_");
      add(EventKind::roll_back, step_, line.text);
    } else if (line.text.starts_with(kStoppedEarly) ||
               (line.text.starts_with("stage ") && line.text.find(kStoppedEarly) != line.text.npos)) {
      add(EventKind::early_stop, step_, line.text);
    }
  }

  void add(EventKind kind, std::optional<double> step, std::string_view text) {
    if (events_.size() >= kMaxEvents) return;
    std::string shown = base::excerpt(text, kMaxTextBytes);
    // Ranks that fail alike say the same, and the last word of a job stands in two files.
    if (kind == EventKind::failure && !failures_.insert(shown).second) return;
    events_.push_back({kind, step, std::move(shown)});
  }

  std::vector<Event>& events_;
  std::optional<double> step_;  // that the log is at
  std::set<std::string> failures_;
};

}  // namespace

std::vector<Event> read_run_logs(const fs::path& run_folder) {
  std::vector<fs::path> logs, failures;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(run_folder / "logs", ignored)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file(ignored)) continue;
    if (name.starts_with("rank_") && name.ends_with(".log")) logs.push_back(entry.path());
    if (name.starts_with("failure_") && name.ends_with(".txt")) failures.push_back(entry.path());
  }
  std::sort(logs.begin(), logs.end());
  std::sort(failures.begin(), failures.end());
  std::vector<Event> events;
  LogReader reader(events);
  for (const fs::path& path : logs) reader.read(path);
  for (const fs::path& path : failures) {
    std::string text = base::read_file(path, kMaxFailureBytes);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (!text.empty()) reader.add_failure(text);
  }
  return events;
}

}  // namespace rosa::report
