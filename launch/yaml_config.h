// Fills described structs (base/fields.h) from YAML, strictly: every unknown, duplicate, mistyped or out-of-range key
// of a file is reported at once with file, line, key, what was expected, what was got and the nearest name.
// What configurations hold is not known here.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fields.h"

namespace rosa::launch {

// Full key ("adapter.value_bits") to where its value comes from: "default", "configs/demo.yaml:12", "--set".
using ConfigSources = std::map<std::string, std::string>;

// A struct's `describe` bound to the struct.
using Describe = std::function<void(base::FieldVisitor&)>;

// One parsed YAML file and the `--set` overrides on top of it. Copyable; copies share the parsed file.
class ConfigInput {
 public:
  // No file: defaults and overrides only.
  ConfigInput();

  // Throws ConfigError where the file can't be read or isn't YAML (file, line).
  static ConfigInput from_file(const std::filesystem::path& path);
  // `name` stands for the file in messages.
  static ConfigInput from_text(std::string_view text, const std::string& name);

  // `assignment` is "a.b=c"; a later one for the same key wins. Throws ConfigError where it has another form.
  void set(std::string_view assignment);

  const std::string& name() const;

  // Whether the file has this key at its top.
  bool has(const std::string& key) const;

 private:
  friend class ConfigFiller;
  struct Parsed;
  std::shared_ptr<const Parsed> parsed_;
  std::map<std::string, std::string> overrides_;  // full key to text
};

// Fills what `describe` names from `input`; a key that the input does not have keeps its value, with the source
// `default_source`. Returns the source of every key. Throws one ConfigError that lists everything wrong.
ConfigSources fill_config(const ConfigInput& input, const Describe& describe,
                          const std::string& default_source = "default");

template <class Config>
ConfigSources load_config(const ConfigInput& input, Config& config) {
  return fill_config(input, [&config](base::FieldVisitor& visitor) { describe(visitor, config); });
}

}  // namespace rosa::launch
