#include "base/line_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace rosa::base {
LineFile::LineFile(std::filesystem::path path, Warn warn, int64_t max_waiting_bytes)
    : path_(std::move(path)), warn_(std::move(warn)), max_waiting_bytes_(max_waiting_bytes) {}

LineFile::~LineFile() {
  if (!flush()) {
    warn_(concat("'", path_.string(), "' still can't be written to: ",
                 num_dropped_ + static_cast<int64_t>(waiting_.size()), " lines are lost"));
  }
  close();
}

void LineFile::open() {
  if (descriptor_.get() >= 0) return;
  std::error_code ignored;  // the folder may have been removed with the file
  std::filesystem::create_directories(path_.parent_path(), ignored);
  descriptor_ = open_regular_file(path_, O_WRONLY | O_APPEND | O_CREAT);
}

void LineFile::close() { descriptor_ = FileDescriptor(-1); }

void LineFile::write(std::string_view line) { write_whole(std::string(line) + "\n"); }

void LineFile::write_whole(std::string record) {
  waiting_.push_back(std::move(record));
  waiting_bytes_ += static_cast<int64_t>(waiting_.back().size());
  if (flush()) return;
  while (waiting_bytes_ > max_waiting_bytes_ && !waiting_.empty()) {
    waiting_bytes_ -= static_cast<int64_t>(waiting_.front().size());
    waiting_.pop_front();
    ++num_dropped_;
  }
}

bool LineFile::flush() {
  if (waiting_.empty()) return true;
  if (!is_still_there()) close();
  try {
    open();
  } catch (const FileError& error) {
    fail(error.what());
    return false;
  }
  while (!waiting_.empty()) {
    if (!append(waiting_.front())) return false;
    waiting_bytes_ -= static_cast<int64_t>(waiting_.front().size());
    waiting_.pop_front();
  }
  if (is_failing_) {
    is_failing_ = false;
    warn_(concat("'", path_.string(), "' can be written to again",
                 num_dropped_ > 0 ? concat("; ", num_dropped_, " lines were dropped meanwhile") : std::string()));
    num_dropped_ = 0;
  }
  return true;
}

// A line is there as a whole or not at all: half of one is cut off again.
bool LineFile::append(const std::string& line) {
  const off_t end = ::lseek(descriptor_.get(), 0, SEEK_END);
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t count = ::write(descriptor_.get(), line.data() + done, line.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error_number = errno;
      if (done > 0 && end >= 0 && ::ftruncate(descriptor_.get(), end) != 0) close();
      fail(concat("write failed: ", std::generic_category().message(error_number)));
      return false;
    }
    done += static_cast<size_t>(count);
  }
  return true;
}

// Whether the path still leads to the file that is open.
bool LineFile::is_still_there() const {
  struct stat opened {
  }, named{};
  return ::fstat(descriptor_.get(), &opened) == 0 && ::stat(path_.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

void LineFile::fail(const std::string& reason) {
  if (std::exchange(is_failing_, true)) return;
  warn_(concat("can't append to '", path_.string(), "' (", reason, "): its lines wait in memory, up to ",
               max_waiting_bytes_ >> 10, " KiB; free some space"));
}

}  // namespace rosa::base
