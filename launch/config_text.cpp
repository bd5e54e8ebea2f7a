#include "launch/config_text.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "launch/path_text.h"
#include "launch/yaml_scalar.h"

namespace rosa::launch {
namespace {

std::string scalar_text(bool value) { return value ? "true" : "false"; }
std::string scalar_text(int64_t value) { return std::to_string(value); }
std::string scalar_text(double value) { return number_text(value); }
std::string scalar_text(const std::string& value) { return yaml_text(value); }

template <class Value>
std::string scalar_text(const std::vector<Value>& values) {
  std::string text = "[";
  for (std::size_t i = 0; i < values.size(); ++i) text += (i == 0 ? "" : ", ") + scalar_text(values[i]);
  return text + "]";
}

const char* role_name(base::Role role) {
  switch (role) {
    case base::Role::recipe:
      return "recipe";
    case base::Role::place:
      return "place";
    case base::Role::free:
      return "free";
  }
  return "";
}

// A visitor that sees each field as texts: name, value, type and what is allowed.
class TextVisitor : public base::FieldVisitor {
 public:
  void field(std::string_view name, bool& value, base::Role role, std::string_view help) final {
    show(name, scalar_text(value), "true or false", role, help);
  }
  void field(std::string_view name, int64_t& value, base::Role role, std::string_view help,
             base::Range<int64_t> range) final {
    show(name, integer_text(value, range), expected_integer(range), role, help);
  }
  void field(std::string_view name, double& value, base::Role role, std::string_view help,
             base::Range<double> range) final {
    show(name, scalar_text(value), expected_number(range), role, help);
  }
  void field(std::string_view name, std::string& value, base::Role role, std::string_view help,
             const std::vector<std::string>& choices) final {
    show(name, scalar_text(value), choices.empty() ? "text" : expected_choice(choices), role, help);
  }
  void path(std::string_view name, std::string& value, base::Role role, std::string_view help) final {
    show(name, yaml_text(path_text(value)), "a path", role, help);
  }
  void field(std::string_view name, std::vector<int64_t>& value, base::Role role, std::string_view help,
             base::Range<int64_t> range) final {
    show(name, scalar_text(value), "a list, each element " + expected_integer(range), role, help);
  }
  void field(std::string_view name, std::vector<double>& value, base::Role role, std::string_view help,
             base::Range<double> range) final {
    show(name, scalar_text(value), "a list, each element " + expected_number(range), role, help);
  }
  void field(std::string_view name, std::vector<std::string>& value, base::Role role, std::string_view help) final {
    show(name, scalar_text(value), "a list of texts", role, help);
  }
  // A list of structs stands on one line.
  size_t begin_list(std::string_view name, size_t size, base::Role role, std::string_view help) final {
    list_ = {.name = std::string(name), .help = std::string(help), .role = role, .text = "["};
    in_list_ = true;
    return size;
  }
  void end_list() final {
    in_list_ = false;
    text_field(list_.name, list_.text + "]", "a list of sections", list_.role, list_.help);
  }
  void begin_section(std::string_view name, std::string_view help) final {
    if (in_list_) {
      list_.text += list_.text == "[" ? "{" : ", {";
      return;
    }

    const std::string key = prefix_ + std::string(name);
    text_section(name, key, help);
    prefix_ = key + ".";
    ++depth_;
  }
  void end_section() final {
    if (in_list_) {
      list_.text += "}";
      return;
    }
    --depth_;
    const std::size_t dot = prefix_.size() < 2 ? std::string::npos : prefix_.rfind('.', prefix_.size() - 2);
    prefix_ = dot == std::string::npos ? "" : prefix_.substr(0, dot + 1);
  }

 protected:
  virtual void text_field(std::string_view name, const std::string& value, const std::string& allowed, base::Role role,
                          std::string_view help) = 0;
  virtual void text_section(std::string_view name, const std::string& key, std::string_view help) = 0;

  std::string prefix_;  // "adapter." or ""
  std::size_t depth_ = 0;

 private:
  void show(std::string_view name, const std::string& value, const std::string& allowed, base::Role role,
            std::string_view help) {
    if (!in_list_) return text_field(name, value, allowed, role, help);
    list_.text += base::concat(list_.text.ends_with('{') ? "" : ", ", name, ": ", value);
  }

  // The list of structs that is being described.
  struct List {
    std::string name = {}, help = {};
    base::Role role = base::Role::free;
    std::string text = {};
  };
  List list_;
  bool in_list_ = false;
};

class Dumper final : public TextVisitor {
 public:
  explicit Dumper(const ConfigSources& sources) : sources_(sources) {}
  std::string text;

 private:
  void text_field(std::string_view name, const std::string& value, const std::string&, base::Role,
                  std::string_view) override {
    text += std::string(2 * depth_, ' ');
    text += name;
    text += ": " + value;
    const auto source = sources_.find(prefix_ + std::string(name));
    if (source != sources_.end()) text += "  # " + base::printable(source->second);
    text += '\n';
  }
  void text_section(std::string_view name, const std::string&, std::string_view) override {
    text += std::string(2 * depth_, ' ');
    text += name;
    text += ":\n";
  }

  const ConfigSources& sources_;
};

// Sections stand where the first of their keys does.
class ChangesDumper final : public TextVisitor {
 public:
  ChangesDumper(const std::map<std::string, std::string>& others, const ConfigSources& sources, std::size_t depth)
      : others_(others), sources_(sources), first_depth_(depth) {}
  std::string text;

 private:
  void text_field(std::string_view name, const std::string& value, const std::string&, base::Role,
                  std::string_view) override {
    const std::string key = prefix_ + std::string(name);
    if (const auto other = others_.find(key); other != others_.end() && other->second == value) return;
    for (; num_written_ < depth_; ++num_written_) add_line(num_written_, open_[num_written_] + ":");
    const auto source = sources_.find(key);
    add_line(depth_,
             base::concat(name, ": ", value, source == sources_.end() ? "" : "  # " + base::printable(source->second)));
  }
  // Sections come one after the other: what is open at this depth or below it has ended.
  void text_section(std::string_view name, const std::string&, std::string_view) override {
    open_.resize(depth_);
    open_.emplace_back(name);
    num_written_ = std::min(num_written_, depth_);
  }
  void add_line(std::size_t depth, const std::string& line) {
    text += std::string(2 * (first_depth_ + depth), ' ') + line + "\n";
  }

  const std::map<std::string, std::string>& others_;
  const ConfigSources& sources_;
  const std::size_t first_depth_;
  std::vector<std::string> open_;  // the sections that the key stands in
  std::size_t num_written_ = 0;    // of these
};

class Flattener final : public TextVisitor {
 public:
  std::map<std::string, std::string> values;

 private:
  void text_field(std::string_view name, const std::string& value, const std::string&, base::Role,
                  std::string_view) override {
    values[prefix_ + std::string(name)] = value;
  }
  void text_section(std::string_view, const std::string&, std::string_view) override {}
};

// Collects a table per section: nested sections follow their parent's own keys.
class ReferenceWriter final : public TextVisitor {
 public:
  ReferenceWriter() { tables_.push_back({"", "", ""}); }

  std::string text() const {
    std::string document;
    for (const Table& table : tables_) {
      if (!table.key.empty()) {
        document += "\n## " + table.key + "\n\n" + table.help + "\n";
      }
      if (table.rows.empty()) continue;
      document += "\n| key | default | allowed | role | meaning |\n|---|---|---|---|---|\n" + table.rows;
    }
    return document;
  }

 private:
  struct Table {
    std::string key, help, rows;
  };

  static std::string cell(std::string_view words) {
    std::string escaped;
    for (const char character : words) {
      if (character == '|') escaped += '\\';
      escaped += character == '\n' ? ' ' : character;
    }
    return escaped;
  }
  void text_field(std::string_view name, const std::string& value, const std::string& allowed, base::Role role,
                  std::string_view help) override {
    const std::string section = prefix_.empty() ? "" : prefix_.substr(0, prefix_.size() - 1);
    for (Table& table : tables_) {
      if (table.key != section) continue;
      table.rows += "| `" + std::string(name) + "` | `" + cell(value) + "` | " + cell(allowed) + " | " +
                    role_name(role) + " | " + cell(help) + " |\n";
    }
  }
  void text_section(std::string_view, const std::string& key, std::string_view help) override {
    tables_.push_back({key, std::string(help), ""});
  }

  std::vector<Table> tables_;
};

}  // namespace

std::string dump_config(const Describe& describe, const ConfigSources& sources) {
  Dumper dumper(sources);
  describe(dumper);
  return dumper.text;
}

std::string dump_changes(const Describe& describe, const std::map<std::string, std::string>& others,
                         const ConfigSources& sources, std::size_t depth) {
  ChangesDumper dumper(others, sources, depth);
  describe(dumper);
  return dumper.text;
}

std::string reference_document(const Describe& describe, const std::string& title, const std::string& command) {
  ReferenceWriter writer;
  describe(writer);
  return "# " + title + "\n\nGenerated by `" + command +
         "` from the program's own structures; a test keeps it up to date.\n"
         "A key is written in YAML under its section, or as `--set section.key=value` on the command line.\n"
         "`rosa config check FILE` reports everything wrong with a file at once; `rosa config dump FILE` shows every "
         "value\nand where it comes from.\n\n"
         "The role says whether a key may change when a run is resumed. `recipe`: it decides what is learnt; a change "
         "is\n"
         "refused by name, and `--accept-changed KEY` goes on all the same. `place` (paths, devices, intervals, what "
         "is "
         "kept)\nand `free`: it may change.\n" +
         writer.text();
}

std::map<std::string, std::string> flatten_config(const Describe& describe) {
  Flattener flattener;
  describe(flattener);
  return flattener.values;
}

}  // namespace rosa::launch
