// The errors of the system and `require`, which throws them.
// A message says what happened, where, what was got, what was expected and what to do.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace rosa::base {

// The base of all our exceptions. Only main() catches it.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A caller broke the contract of a function (shapes, dtypes, ranges).
class ArgumentError : public Error {
 public:
  using Error::Error;
};

// A configuration is wrong: names file, line and key.
class ConfigError : public Error {
 public:
  using Error::Error;
};

// Input data (tokens, model weights) is missing, damaged or out of range.
class DataError : public Error {
 public:
  using Error::Error;
};

// A checkpoint can't be written, read or used.
class CheckpointError : public Error {
 public:
  using Error::Error;
};

// A collective failed: names call, code and rank.
class CommunicationError : public Error {
 public:
  using Error::Error;
};

// A loss, gradient or weight is not finite.
class NumericError : public Error {
 public:
  using Error::Error;
};

// The file system refused: names call, path and the system's reason.
class FileError : public Error {
 public:
  using Error::Error;
};

// Concatenates its arguments as an ostream writes them.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Throws ErrorType with the concatenated parts unless `condition` holds.
template <class ErrorType = ArgumentError, class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) throw ErrorType(concat(parts...));
}

}  // namespace rosa::base
