#include "launch/token_text.h"

#include <unistd.h>

#include <iostream>

namespace rosa::launch {

std::string text_of_bytes(const at::Tensor& tokens) {
  const at::Tensor on_cpu = tokens.to(at::kCPU, at::kLong).reshape({-1}).contiguous();
  std::string text;
  for (int64_t i = 0; i < on_cpu.numel(); ++i) {
    const int64_t id = on_cpu.const_data_ptr<int64_t>()[i];
    text += id >= 0 && id < 256 ? static_cast<char>(id) : '?';
  }
  return text;
}

TextOutput::TextOutput() : is_terminal_(::isatty(STDOUT_FILENO) == 1) {}

void TextOutput::write(const std::string& text) {
  std::cout << (is_terminal_ ? stream_.add(text) : text) << std::flush;
}

void TextOutput::end_line() { std::cout << stream_.finish() << std::endl; }

}  // namespace rosa::launch
