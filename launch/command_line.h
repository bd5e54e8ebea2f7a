// The command line of `rosa`: all its subcommands, and what one that is refused was probably meant to be.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launch/command.h"

namespace rosa::launch {

// Parsing a command line with it sets `action`.
std::unique_ptr<CLI::App> make_program(Action& action);

// What is wrong with `arguments` (the program's name is not among them), which `program` has refused, and what to write
// instead: one line. `reason` is what the parser said; it stands where nothing better is known.
std::string explain_usage_error(const CLI::App& program, const std::vector<std::string>& arguments,
                                const std::string& reason);

}  // namespace rosa::launch
