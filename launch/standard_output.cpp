#include "launch/standard_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iostream>
#include <string>
#include <string_view>

#include "base/file.h"

namespace rosa::launch {
namespace {

constexpr std::size_t kGatheredBytes = 1 << 16;

// A standard descriptor that is closed becomes one on which its use fails, as it would on a closed one.
void occupy_closed_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is this one.
    [[maybe_unused]] const int opened = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

class StandardOutput::Buffer : public std::streambuf {
 protected:
  int_type overflow(int_type symbol) override {
    if (traits_type::eq_int_type(symbol, traits_type::eof())) return traits_type::not_eof(symbol);
    const char text = traits_type::to_char_type(symbol);
    return xsputn(&text, 1) == 1 ? symbol : traits_type::eof();
  }
  std::streamsize xsputn(const char* text, std::streamsize count) override {
    gathered_.append(text, static_cast<std::size_t>(count));
    if (gathered_.size() >= kGatheredBytes) sync();
    return count;
  }
  int sync() override {
    std::string_view rest = gathered_;
    while (!rest.empty()) {
      const ssize_t count = ::write(STDOUT_FILENO, rest.data(), rest.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        const int error_number = errno;
        gathered_.clear();  // it is told once
        base::throw_file_error("write", "standard output", error_number);
      }
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
    gathered_.clear();
    return 0;
  }

 private:
  std::string gathered_;
};

StandardOutput::StandardOutput() : buffer_(std::make_unique<Buffer>()) {
  occupy_closed_descriptors();
  std::signal(SIGPIPE, SIG_IGN);
  replaced_ = std::cout.rdbuf(buffer_.get());
  std::cout.exceptions(std::ios::badbit);  // an ostream would keep the buffer's exception to itself
}

StandardOutput::~StandardOutput() {
  std::cout.exceptions(std::ios::goodbit);
  std::cout.flush();  // what was printed before an error
  std::cout.rdbuf(replaced_);
}

void StandardOutput::finish() { std::cout.flush(); }

}  // namespace rosa::launch
