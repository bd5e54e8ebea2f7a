// The program `rosa`: picks the subcommand, and is the only place that catches everything.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/host_name.h"
#include "launch/bounded_waits.h"
#include "launch/command_line.h"
#include "launch/exit_code.h"
#include "launch/failure.h"
#include "launch/guardian.h"
#include "launch/last_word.h"
#include "launch/process.h"
#include "launch/standard_output.h"
#include "parallel/mpi_session.h"

namespace {

using namespace rosa::launch;

// How long a rank may be stopped while nobody knows yet what the configuration says of that.
constexpr double kLimitBeforeConfiguration_s = 60.0;

// As CLI11 takes them.
std::vector<std::string> reversed(std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

int parse_and_run(int argc, char** argv) {
  Action action;
  const std::unique_ptr<CLI::App> program = make_program(action);
  const std::vector<std::string> arguments = separate_overrides({argv + 1, argv + argc});
  try {
    program->parse(reversed(arguments));
  } catch (const CLI::ParseError& error) {
    // Every rank has the same command line: one of them speaks.
    const bool speaks = rank_of_process() == 0;
    if (error.get_exit_code() == 0) {  // help, version
      if (speaks) program->exit(error);
      return kExitOk;
    }
    if (speaks) std::cerr << explain_usage_error(*program, arguments, error.what()) << std::endl;
    return kExitConfiguration;
  }
  return action();
}

// Whether the same command goes on where it was stopped. Others leave INT to the system, so that a shell's loop ends.
bool can_go_on(std::string_view subcommand) {
  constexpr std::array kNames = {"train", "pretrain", "demo", "experiment"};
  return std::find(kNames.begin(), kNames.end(), subcommand) != kNames.end();
}

// Before anything that may take time or fail.
void watch_this_process(std::string_view subcommand) {
  const bool has_launcher = rosa::parallel::MpiSession::started_by_launcher();
  prepare_last_word(has_launcher);
  end_on_stop_signals(can_go_on(subcommand));
  if (has_launcher) {
    const std::string who = rosa::base::concat("rank ", rank_of_process(), " on ", rosa::base::host_name());
    start_guardian(who.c_str(), kLimitBeforeConfiguration_s);
    be_silent_when_woken_by_the_end();
  }
  report_uncaught_exceptions();
}

}  // namespace

int main(int argc, char** argv) {
  bound_waits_of_threads(argc > 1 ? argv[1] : "", argv);
  StandardOutput output;
  watch_this_process(argc > 1 ? argv[1] : "");
  // Makes MKL's results independent of threads and neighbouring rows; it is read once, at the first MKL call.
  setenv("MKL_CBWR", "AUTO,STRICT", 0);
  report_shortened_files();
  try {
    const int exit_code = parse_and_run(argc, argv);
    output.finish();
    return exit_code;
  } catch (const std::exception& error) {
    return report_failure(message_of(error), exit_code_of(error));
  } catch (...) {
    return report_failure("unknown exception", kExitInternal);
  }
}
