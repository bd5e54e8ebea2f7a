// Changes of safetensors files that keep what they mean.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace rosa::testing {

// Writes the file anew with a header that is one byte longer: no tensor is aligned to its elements any more.
inline void misalign_tensors(const std::filesystem::path& path) {
  std::ifstream input(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(input)), {});
  size_t header_bytes = 0;
  for (size_t i = 8; i-- > 0;) header_bytes = header_bytes << 8 | static_cast<unsigned char>(text.at(i));
  text.insert(8 + header_bytes, header_bytes % 2 == 0 ? " " : "  ");
  header_bytes += header_bytes % 2 == 0 ? 1 : 2;
  for (size_t i = 0; i < 8; ++i) text[i] = static_cast<char>(header_bytes >> (8 * i) & 255);
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace rosa::testing
