// StandardOutput: what the program prints with std::cout, in a way that a full disk or a closed pipe is an error; and
// the three standard descriptors, which may be closed at the start.
#pragma once

#include <memory>
#include <streambuf>

namespace rosa::launch {

// While it lives, whatever can't be written by std::cout throws FileError where it is printed (at a flush, or where
// much has been gathered).
class StandardOutput {
 public:
  // First of all in main: a descriptor 0, 1 or 2 that is closed would become the next file that is opened, and lines
  // for standard error would go into it. From here on a pipe that nobody reads is an error, not the end by a signal.
  StandardOutput();
  ~StandardOutput();
  StandardOutput(const StandardOutput&) = delete;
  StandardOutput& operator=(const StandardOutput&) = delete;

  // Writes what is left. Throws FileError.
  void finish();

 private:
  class Buffer;
  std::unique_ptr<Buffer> buffer_;
  std::streambuf* replaced_;
};

}  // namespace rosa::launch
