// Which name somebody meant who wrote one that there is not.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rosa::base {

// The one of `names` that `name` was probably meant to be, or an empty text where none is near.
std::string nearest_name(std::string_view name, const std::vector<std::string>& names);

}  // namespace rosa::base
