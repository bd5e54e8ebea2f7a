// LineFile: a text file to which whole lines are appended while other work goes on. What goes wrong with the file is a
// warning and never an error of that work: a disk that is full for a while, a file that is removed, replaced or cut by
// others (log rotation). Lines that can't be written wait, within a bound, and are written when the file takes them
// again.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/file.h"

namespace rosa::base {

class LineFile {
 public:
  // Told once when writing begins to fail and once when it works again; a log file writes it elsewhere.
  using Warn = std::function<void(const std::string& text)>;

  // Opens nothing yet. At most `max_waiting_bytes` of lines wait; beyond that the oldest of them are dropped and
  // counted.
  LineFile(std::filesystem::path path, Warn warn, int64_t max_waiting_bytes = int64_t{1} << 20);
  // Tries once more to write what waits, and warns of what is lost.
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // Appends a line (without its end). When this returns the line is in the file, or waits. Makes file and folder where
  // they are missing. Never throws for what the file system does.
  void write(std::string_view line);
  // The same with bytes as they are, for files of records that are no lines.
  void write_whole(std::string record);
  // Tries to write what waits. False where something still does.
  bool flush();

  // Opens the file now, so that the first error is seen where it belongs. Throws FileError where that can't be done.
  void open();
  // The next line opens the file anew; for when its content was replaced by its owner.
  void close();

 private:
  bool append(const std::string& line);
  bool is_still_there() const;
  void fail(const std::string& reason);

  std::filesystem::path path_;
  Warn warn_;
  int64_t max_waiting_bytes_;
  FileDescriptor descriptor_{-1};
  std::deque<std::string> waiting_;
  int64_t waiting_bytes_ = 0;
  int64_t num_dropped_ = 0;
  bool is_failing_ = false;
};

}  // namespace rosa::base
