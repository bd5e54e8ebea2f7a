// Small helpers of tests that read and write text files.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

namespace rosa::testing {

// The whole content of `path`, byte by byte.
inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// How often `text` stands in `whole`.
inline int count_of(const std::string& whole, const std::string& text) {
  int count = 0;
  for (size_t at = 0; (at = whole.find(text, at)) != std::string::npos; at += text.size()) ++count;
  return count;
}

}  // namespace rosa::testing
