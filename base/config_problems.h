// ConfigProblems: what is wrong with a configuration beyond the range of a single field, all of it, by key.
//
// A struct `FooConfig` with rules has beside its `describe` a function
// `void check(base::ConfigProblems& problems, const FooConfig& config)` that names its keys as `describe` does; a
// section's rules are called by the struct that holds it, with `section`. Whoever reads a file (launch/) tells where
// the values come from; whoever has none calls `throw_if_any`.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace rosa::base {

// Everything wrong with a configuration at once. what() has it on one line.
class ConfigErrorList : public ConfigError {
 public:
  ConfigErrorList(const std::string& title, const std::vector<std::string>& items);

  // The same with each on a line of its own, and everything in it printable.
  const std::string& list() const { return list_; }

 private:
  std::string list_;
};

// Full key ("adapter.value_bits") to where its value comes from: "default", "configs/demo.yaml:12", "--set".
using ConfigSources = std::map<std::string, std::string>;

// Where a whole configuration comes from. Without a name: made by a program, not read.
struct ConfigOrigin {
  std::string name;  // of its file, on one line
  ConfigSources sources;
};

struct ConfigProblem {
  std::vector<std::string> keys;  // full keys; the first is the one to change
  std::string text;               // "got 20, expected at most data.max_phrase_length, 16"
};

class ConfigProblems {
 public:
  // `keys`, as the section that is being checked calls them: the one to change first, then those that it disagrees
  // with.
  template <class... Parts>
  void add(const std::vector<std::string>& keys, const Parts&... parts) {
    ConfigProblem problem{{}, concat(parts...)};
    for (const std::string& key : keys) problem.keys.push_back(full_key(key));
    all_.push_back(std::move(problem));
  }

  // Adds the problem unless `condition` holds.
  template <class... Parts>
  void require(bool condition, const std::vector<std::string>& keys, const Parts&... parts) {
    if (!condition) add(keys, parts...);
  }

  // Applies the rules of a nested struct; `more` is what they need beside it.
  template <class Section, class... More>
  void section(std::string_view name, const Section& config, const More&... more) {
    const std::string outer = prefix_;
    prefix_ += name;
    prefix_ += '.';
    check(*this, config, more...);
    prefix_ = outer;
  }

  void add_all(const ConfigProblems& others) { all_.insert(all_.end(), others.all_.begin(), others.all_.end()); }

  // The full form of a key of the section that is being checked, for texts.
  std::string full_key(std::string_view key) const { return concat(prefix_, key); }

  bool empty() const { return all_.empty(); }
  const std::vector<ConfigProblem>& all() const { return all_; }

  // Throws one ConfigError with every problem: a list with places where `origin` has a name, else in one line.
  void throw_if_any(const ConfigOrigin& origin = {}) const;

 private:
  std::string prefix_;  // "data." or ""
  std::vector<ConfigProblem> all_;
};

// A problem as a user reads it, in the line (0: none) that it belongs to.
struct PlacedProblem {
  int line = 0;
  std::string text;
};

// At the place of the key that somebody gave last: one of an override (--set), else the key to change, else any other
// of the problem's that is no default.
PlacedProblem placed(const ConfigProblem& problem, const ConfigSources& sources);

// Throws a ConfigErrorList with the first problems, by line. `name` is that of the file.
[[noreturn]] void throw_sorted(const std::string& name, std::vector<PlacedProblem> problems);

// Throws one ConfigError with every rule that `config` breaks; `more` is what its `check` needs beside it.
template <class Config, class... More>
void require_good(const Config& config, const More&... more) {
  ConfigProblems problems;
  check(problems, config, more...);
  problems.throw_if_any();
}

}  // namespace rosa::base
