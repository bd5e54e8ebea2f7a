// LineCommand: a program of the user's that is given lines on its standard input while other work goes on. What goes
// wrong with it is a warning and never an error of that work: a program that can't be started, ends early, or takes its
// lines too slowly.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/file.h"

namespace rosa::base {

struct LineCommandOptions {
  std::string name;                                     // what warnings call it
  std::string command;                                  // for /bin/sh
  std::filesystem::path log_file;                       // its standard output and error are appended to it
  std::map<std::string, std::string> environment = {};  // added to this process's own
  std::function<void(const std::string& text)> warn;
  int64_t max_waiting_bytes = int64_t{1} << 20;  // of lines that the program has not taken yet
  double drain_s = 10.0;                         // how long the end waits for the program to take the last lines,
  double exit_s = 30.0;                          // then for its exit, before it gets TERM,
  double kill_s = 5.0;                           // and then, before it gets KILL
};

// The program has a session of its own: a Ctrl-C or a hangup of the terminal does not reach it. It inherits no
// descriptor, no signal that is ignored or blocked, and none of MPI's variables. The process ignores SIGPIPE.
class LineCommand {
 public:
  // Starts the program.
  explicit LineCommand(LineCommandOptions options);
  // finish(), with two seconds for each wait where an exception is under way.
  ~LineCommand();
  LineCommand(const LineCommand&) = delete;
  LineCommand& operator=(const LineCommand&) = delete;

  // Appends a line (without its end). When this returns the system has it for the program, or it waits. Never blocks.
  // Where too much waits, the oldest lines are dropped and counted.
  void write(std::string_view line);
  // Hands over what waits, as much as the program takes, and looks whether it still runs. To be called now and then.
  void poll();
  // Gives it what waits, closes its standard input and waits for its end, each for a bounded time. Later lines go
  // nowhere.
  void finish();

 private:
  void start();
  void drop_beyond_bound();
  bool has_ended();
  bool wait_for_end(double seconds);
  void end_by_force();
  void warn(const std::string& text) const;
  std::string see_log() const;

  LineCommandOptions options_;
  const int exceptions_at_start_;
  pid_t pid_ = -1;  // -1: it does not run
  FileDescriptor input_{-1};
  std::deque<std::string> waiting_;
  size_t num_written_ = 0;  // bytes of the first that waits
  int64_t waiting_bytes_ = 0;
  int64_t num_dropped_ = 0;
};

}  // namespace rosa::base
