// The option --accept-changed: what may differ from a checkpoint (training/run_identity.h).
#pragma once

#include <set>
#include <string>

namespace CLI {
class App;
}

namespace rosa::launch {

// Splits and checks "adapter.layers,data". Throws ConfigError for a name that there is not, with the nearest one.
std::set<std::string> parse_accepted(const std::string& list);

void add_accept_changed_option(CLI::App& command, std::string& list);

}  // namespace rosa::launch
