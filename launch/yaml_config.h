// Fills described structs (base/fields.h) from YAML, strictly: every unknown, duplicate, mistyped or out-of-range key
// of a file, and every rule that is broken (base/config_problems.h), is reported at once with file, line, key, what was
// expected, what was got and the nearest name. What configurations hold is not known here.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config_problems.h"
#include "base/fields.h"
#include "launch/yaml_tree.h"

namespace rosa::launch {

using base::ConfigSources;

// A struct's `describe` bound to the struct, and its `check`.
using Describe = std::function<void(base::FieldVisitor&)>;
using Check = std::function<void(base::ConfigProblems&)>;

struct ConfigVariant;
// Pairs of keys of one section, of which it has one.
using KeyAlternatives = std::vector<std::pair<std::string, std::string>>;

// One parsed YAML file and the `--set` overrides on top of it. Copyable; copies share the parsed file.
class ConfigInput {
 public:
  // No file: defaults and overrides only.
  ConfigInput();

  // Throws ConfigError where the file can't be read or isn't YAML (file, line).
  static ConfigInput from_file(const std::filesystem::path& path);
  // `name` stands for the file in messages.
  static ConfigInput from_text(std::string_view text, const std::string& name);

  // `assignment` is "a.b=c"; a later one for the same key wins. One of another form is reported by fill_config.
  void set(std::string_view assignment);

  // The file as messages name it, on one line whatever its name holds.
  const std::string& name() const;

  // Whether the file has this key at its top.
  bool has(const std::string& key) const;
  // The text that the overrides or the file give a key, "adapter.estimator"; empty where neither does.
  std::string text_of(const std::string& key) const;

  // Takes the list `key` out of the input. Each entry is a section with a `name` and other keys, which it lays over the
  // file's: a variant is an input of its own. Overrides hold in every variant; "KEY.NAME.a.b=c" in that one alone.
  // A key that `alternatives` pairs with one in the file takes its place. Empty where there is no such list. Throws
  // ConfigError (file, line) for entries of another form.
  std::vector<ConfigVariant> take_variants(const std::string& key, const KeyAlternatives& alternatives = {});

 private:
  friend class ConfigFiller;
  struct Parsed {
    std::string name;
    YamlNodePtr root;
  };
  std::shared_ptr<const Parsed> parsed_;
  std::map<std::string, std::string> overrides_;  // full key to text
  std::vector<std::string> no_assignments_;       // given to set(), but without key or '='
};

struct ConfigVariant {
  std::string name;
  ConfigInput input;
};

// Fills what `describe` names from `input`; a key that the input does not have keeps its value, with the source
// "default". Then `check`, where there is one, judges the whole. Returns the source of every key. Throws one
// ConfigError that lists everything wrong.
ConfigSources fill_config(const ConfigInput& input, const Describe& describe, const Check& check = {});

template <class Config>
ConfigSources load_config(const ConfigInput& input, Config& config) {
  return fill_config(input, [&config](base::FieldVisitor& visitor) { describe(visitor, config); });
}

}  // namespace rosa::launch
