// The shared libraries that belong to the program.
#pragma once

#include <filesystem>
#include <string>

namespace rosa::launch {

// Where `file` lies beside the program, in a build folder as where it is installed: lib, lib64 or lib/x86_64-linux-gnu
// of its prefix. The place in lib where there is none.
std::filesystem::path own_library(const std::string& file);

}  // namespace rosa::launch
