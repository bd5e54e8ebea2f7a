// The subcommands, options and keys of the program, for what is said about them: hints, completion, man page.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace rosa::launch {

// Named subcommands; a group of options is a subcommand without a name to CLI11.
std::vector<const CLI::App*> subcommands(const CLI::App& command);

std::vector<std::string> names_of(const std::vector<const CLI::App*>& commands);

// All below the program, by their full names ("data pack").
std::map<std::string, const CLI::App*> all_commands(const CLI::App& program);

// Those of groups among them; also what stands without a name.
std::vector<const CLI::Option*> options_of(const CLI::App& command);

// "--set", "--help", ...
std::vector<std::string> option_names(const CLI::App& command);

bool has_option(const CLI::App& command, const std::string& name);

std::string joined(const std::vector<std::string>& words, const std::string& between);

// The keys that --set of a command changes; `path` is its full name ("experiment").
std::vector<std::string> keys_of(const std::string& path);

}  // namespace rosa::launch
