// What the build system knew: version, commit, compiler. Filled by CMake (build_info.cpp.in).
#pragma once

namespace rosa::launch {

extern const char* const kBuildVersion;   // "0.1.0 (git d670d8f)"
extern const char* const kBuildCompiler;  // "GNU 12.2.0, Release"
extern const char* const kBuildTorch;     // "2.15.0"
extern const bool kBuildCuda;

}  // namespace rosa::launch
