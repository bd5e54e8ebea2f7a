// The exit codes of `rosa` (docs/running.md), and which error ends the program with which.
#pragma once

#include <exception>

namespace rosa::launch {

enum ExitCode : int {
  kExitOk = 0,
  kExitInternal = 1,       // a bug, or an error of a library
  kExitConfiguration = 2,  // configuration or command line
  kExitData = 3,           // input data or model weights
  kExitCheckpoint = 4,
  kExitCommunication = 5,
  kExitNumeric = 6,  // a loss, gradient or weight is not finite
  kExitFileSystem = 7,
  kExitWatchdog = 8,       // a rank was frozen, hung or gone, and the watchdog ended the job
  kExitInterrupted = 130,  // a second INT
  kExitStopped = 75,       // stopped on request; start it again to go on
};

ExitCode exit_code_of(const std::exception& error);

// One line for every code, for --help.
const char* exit_code_help();

}  // namespace rosa::launch
