// Token ids of byte-level models as text and back.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rosa::launch {

// int64 of any shape -> the bytes; ids above 255 become '?'.
std::string text_of_bytes(const at::Tensor& tokens);

std::vector<int64_t> bytes_of_text(const std::string& text);

}  // namespace rosa::launch
