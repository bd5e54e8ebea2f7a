#include "launch/exit_code.h"

#include <filesystem>

#include "base/error.h"

namespace rosa::launch {

namespace {

template <class ErrorType>
bool is(const std::exception& error) {
  return dynamic_cast<const ErrorType*>(&error) != nullptr;
}

}  // namespace

ExitCode exit_code_of(const std::exception& error) {
  if (is<base::ConfigError>(error)) return kExitConfiguration;
  if (is<base::DataError>(error)) return kExitData;
  if (is<base::CheckpointError>(error)) return kExitCheckpoint;
  if (is<base::CommunicationError>(error)) return kExitCommunication;
  if (is<base::NumericError>(error)) return kExitNumeric;
  if (is<base::FileError>(error) || is<std::filesystem::filesystem_error>(error)) return kExitFileSystem;
  return kExitInternal;
}

const char* exit_code_help() {
  return "Exit codes: 0 done, 1 internal error, 2 configuration or usage, 3 data, 4 checkpoint, 5 communication,\n"
         "6 not-finite or differing numbers, 7 file system, 8 a rank was frozen, hung or gone (watchdog),\n"
         "75 stopped on request (start it again to go on).";
}

}  // namespace rosa::launch
