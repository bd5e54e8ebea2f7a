// The name of this host, for messages and to tell hosts apart.
#pragma once

#include <string>

namespace rosa::base {

// "unknown host" where the system does not say.
std::string host_name();

}  // namespace rosa::base
