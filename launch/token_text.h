// Token ids of byte-level models as text.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "base/printable.h"

namespace rosa::launch {

// int64 of any shape -> the bytes; ids above 255 become '?'.
std::string text_of_bytes(const at::Tensor& tokens);

// Standard output for what a model or a data set says. A file or pipe gets the bytes as they are; on a terminal,
// control characters that could move the cursor or send it commands are written visibly (line ends and tabs stay).
class TextOutput {
 public:
  TextOutput();
  void write(const std::string& text);
  // Writes what was held back of a torn character, and a line end.
  void end_line();

 private:
  const bool is_terminal_;
  base::PrintableStream stream_;
};

}  // namespace rosa::launch
