#include "launch/accept_changed.h"

#include <CLI/CLI.hpp>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "base/nearest_name.h"
#include "training/run_identity.h"

namespace rosa::launch {
namespace {

// The name that is near as a whole, or the key whose last word is near.
std::string nearest_acceptable(const std::string& name, const std::vector<std::string>& names) {
  const std::string nearest = base::nearest_name(name, names);
  if (!nearest.empty()) return nearest;
  for (const std::string& key : names) {
    const size_t dot = key.rfind('.');
    if (dot != std::string::npos && !base::nearest_name(name, {key.substr(dot + 1)}).empty()) return key;
  }
  return "";
}

}  // namespace

std::set<std::string> parse_accepted(const std::string& list) {
  const std::vector<std::string> names = training::acceptable_names();
  std::set<std::string> accepted;
  std::istringstream parts(list);
  for (std::string name; std::getline(parts, name, ',');) {
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    if (name.empty()) continue;
    const bool known = training::is_acceptable(name);
    const std::string nearest = known ? "" : nearest_acceptable(name, names);
    base::require<base::ConfigError>(
        known, "--accept-changed: there is no '", name, "'",
        nearest.empty() ? "; what changed is named by its key (adapter.layers), its section (schedules), or as data, "
                          "held_out_data, model, tokenizer, vocabulary or run"
                        : "; did you mean " + nearest + "?");
    accepted.insert(name);
  }
  return accepted;
}

void add_accept_changed_option(CLI::App& command, std::string& list) {
  command.add_option("--accept-changed", list,
                     "go on although these changed since the checkpoint, e.g. data,student.sliding_window "
                     "(docs/running.md)");
}

}  // namespace rosa::launch
