// What a shell wants to know of the program, from the program's own texts: completion for bash, and a man page.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace rosa::launch {

// A script for bash: subcommands, options, the values of those that have a list, and the keys behind --set.
std::string bash_completion(const CLI::App& program);

// In roff, for section 1. `version` stands at its foot.
std::string man_page(const CLI::App& program, const std::string& version);

}  // namespace rosa::launch
