// The Python files of models/python/, as the program carries them with it.
#pragma once

#include <string_view>

namespace rosa::models {

extern const std::string_view kConfigurationSource;
extern const std::string_view kModelingSource;

}  // namespace rosa::models
