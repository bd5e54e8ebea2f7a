// The Python files of models/python/, as the program carries them with it.
#pragma once

#include <string_view>

namespace rosa::models {

inline constexpr const char* kConfigurationFile = "configuration_qwen3_rosa.py";
inline constexpr const char* kModelingFile = "modeling_qwen3_rosa.py";
extern const std::string_view kConfigurationSource;
extern const std::string_view kModelingSource;

}  // namespace rosa::models
