// Job: a program that a test starts, alone or under mpirun, with an environment, signals to the launcher or to one
// rank, and a deadline that always ends in SIGKILL of everything the job started. Every process of a job carries a
// mark in its environment, by which it is found in /proc whatever its parent, process group or session is; zombies
// have no environment left and do not count.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace rosa::testing {

using Seconds = std::chrono::duration<double>;

// Ten times what a small job takes on a busy machine.
inline constexpr Seconds kJobDeadline{120};
// How long processes may outlive their launcher before they count as left behind.
inline constexpr Seconds kOrphanDeadline{30};

struct JobOptions {
  int num_ranks = 0;                                    // 0: the command as it is, without mpirun
  std::vector<std::string> launcher_options = {};       // further ones of mpirun
  std::map<std::string, std::string> environment = {};  // on top of the test's own
  std::filesystem::path folder = {};                    // to run in; empty: the test's own
  Seconds orphan_deadline = kOrphanDeadline;
};

struct JobResult {
  int exit_code = -1;                // 128 + signal where a signal ended the launcher (or the program, without one)
  bool timed_out = false;            // the deadline passed and everything was killed
  std::string output;                // both streams, in order
  std::vector<std::string> orphans;  // what was left orphan_deadline after the end ("PID command line"); now killed
  double seconds = 0.0;              // from start to the end of the launcher
  double orphan_seconds = 0.0;       // from there until the last process was gone
};

class Job {
 public:
  // Starts command[0] with the rest as arguments; std::runtime_error where that fails.
  explicit Job(std::vector<std::string> command, JobOptions options = {});
  // Kills what is still there.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // Of mpirun, or of the program itself without it.
  pid_t pid() const { return pid_; }
  void send_signal(int signal) const;

  // The process of a rank (by the launcher's environment) that runs command[0]; waits until it is there.
  // std::runtime_error where none comes before the deadline.
  pid_t rank_pid(int rank, Seconds deadline = kJobDeadline) const;
  void send_signal_to_rank(int rank, int signal, Seconds deadline = kJobDeadline) const;

  // What the job has written so far.
  std::string output() const;
  // Waits until the output holds `text`; false where the job ends or the deadline passes without it.
  bool wait_for_output(const std::string& text, Seconds deadline = kJobDeadline);
  // Waits until the file or folder is there; false as above.
  bool wait_for_path(const std::filesystem::path& path, Seconds deadline = kJobDeadline);

  // Waits for the end, then for the last process. At the deadline, counted from now, everything is killed.
  JobResult wait(Seconds deadline = kJobDeadline);

 private:
  template <class Condition>
  bool poll(Seconds deadline, const Condition& condition);
  bool has_ended();
  void kill_everything();

  TemporaryFolder folder_;  // of the output
  std::string mark_;
  std::string program_;
  Seconds orphan_deadline_;
  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = 0;
  std::chrono::steady_clock::time_point start_;
  double seconds_ = 0.0;
};

// Starts and waits.
JobResult run_job(std::vector<std::string> command, JobOptions options = {}, Seconds deadline = kJobDeadline);

// The program under test, build/bin/rosa.
std::string rosa_program();
// rosa ARGUMENTS
JobResult run_rosa(std::vector<std::string> arguments, JobOptions options = {}, Seconds deadline = kJobDeadline);
// A line of bash, in which $R is the program.
JobResult run_shell(const std::string& line, JobOptions options = {}, Seconds deadline = kJobDeadline);

}  // namespace rosa::testing
