#include "base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/line_file.h"
#include "base/printable.h"

namespace rosa::base {
namespace {

std::atomic<bool> console_is_silent{false}, is_over{false};
std::atomic<int64_t> warning_count{0};

// As start_log() was given it.
std::mutex question_mutex;
std::function<bool()> console_is_closed;

class ConsoleSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit ConsoleSink(std::function<void(const std::string&)> console) : console_(std::move(console)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const bool last_words = message.level == spdlog::level::critical;
    if (!last_words && !console_is_open()) return;
    std::string line;
    if (last_words) {
      line = std::string(message.payload.data(), message.payload.size()) + "\n";
    } else {
      spdlog::memory_buf_t buffer;
      formatter_->format(message, buffer);
      line.assign(buffer.data(), buffer.size());
    }
    if (console_) {
      while (!line.empty() && line.back() == '\n') line.pop_back();
      console_(line);
    } else {
      std::fwrite(line.data(), 1, line.size(), stderr);
    }
  }
  void flush_() override { std::fflush(stderr); }

 private:
  std::function<void(const std::string&)> console_;
};

// A log that can't be written is said on the console, and must not end what it tells of.
class FileSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FileSink(const std::filesystem::path& path)
      : lines_(path,
               [](const std::string& text) { std::fprintf(stderr, "rosa: log: %s\n", printable(text).c_str()); }) {
    lines_.open();
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t buffer;
    formatter_->format(message, buffer);
    lines_.write(one_line(std::string_view(buffer.data(), buffer.size())));
  }
  void flush_() override { lines_.flush(); }

 private:
  LineFile lines_;
};

std::shared_ptr<spdlog::logger> make_logger(const LogOptions& options) {
  std::vector<spdlog::sink_ptr> sinks;
  sinks.push_back(std::make_shared<ConsoleSink>(options.console));
  sinks.back()->set_level(options.info_to_console ? spdlog::level::info : spdlog::level::warn);
  if (!options.file.empty()) sinks.push_back(std::make_shared<FileSink>(options.file));
  auto logger = std::make_shared<spdlog::logger>("rosa", sinks.begin(), sinks.end());
  logger->set_pattern(options.world_size > 1 ? concat("%H:%M:%S.%e %l [rank ", options.rank, "] %v")
                                             : std::string("%H:%M:%S.%e %l %v"));
  logger->flush_on(spdlog::level::warn);
  return logger;
}

std::mutex logger_mutex;

std::shared_ptr<spdlog::logger>& logger_slot() {
  static std::shared_ptr<spdlog::logger> logger = make_logger({});
  return logger;
}

std::shared_ptr<spdlog::logger> current_logger() {
  std::scoped_lock lock(logger_mutex);
  return logger_slot();
}

}  // namespace

void start_log(const LogOptions& options) {
  auto logger = make_logger(options);
  {
    const std::scoped_lock lock(question_mutex);
    console_is_closed = options.console_is_closed;
  }
  std::scoped_lock lock(logger_mutex);
  logger_slot() = std::move(logger);
}

namespace {

// The text is an argument, never the format: braces in it stay as they are. Names from files are in many texts, and
// none may look like a line of its own or reach the terminal's controls.
void log(spdlog::level::level_enum level, const std::string& text) {
  if (!is_over) current_logger()->log(level, spdlog::string_view_t(text));
}

}  // namespace

void log_info(const std::string& text) { log(spdlog::level::info, printable(text)); }

void log_warning(const std::string& text) {
  ++warning_count;
  log(spdlog::level::warn, printable(text));
}

void log_error(const std::string& text) { log(spdlog::level::err, printable(text)); }

void log_last_words(const std::string& text) {
  log(spdlog::level::critical, printable_lines(text));
  is_over = true;
  flush_log();
}

void silence_console() { console_is_silent = true; }

bool console_is_open() {
  const std::scoped_lock lock(question_mutex);
  if (!console_is_silent && console_is_closed && console_is_closed()) console_is_silent = true;
  return !console_is_silent;
}

int64_t num_warnings() { return warning_count; }

void flush_log() { current_logger()->flush(); }

}  // namespace rosa::base
