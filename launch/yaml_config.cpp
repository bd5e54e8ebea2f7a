#include "launch/yaml_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "launch/yaml_scalar.h"

namespace rosa::launch {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{1} << 20;

// A value as found: in the file (a node and the line of its key) or given as an override (a text).
struct Found {
  YAML::Node node;
  int line = 0;  // 0: an override
  std::string override_text;

  bool is_override() const { return line == 0; }
};

struct Problem {
  int line;  // 0: not in the file
  std::string text;
};

std::string node_kind(const YAML::Node& node) {
  if (node.IsMap()) return "a section";
  if (node.IsSequence()) return "a list";
  if (node.IsNull()) return "nothing";
  return "'" + node.Scalar() + "'";
}

// yaml-cpp tags a scalar in quotes "!", a plain one "?".
bool is_quoted(const YAML::Node& node) { return node.Tag() == "!"; }

}  // namespace

struct ConfigInput::Parsed {
  std::string name;
  YAML::Node root;
};

ConfigInput::ConfigInput()
    : parsed_(std::make_shared<Parsed>(Parsed{"(defaults)", YAML::Node(YAML::NodeType::Null)})) {}

ConfigInput ConfigInput::from_file(const std::filesystem::path& path) {
  std::string text;
  try {
    text = base::read_file(path, kMaxFileBytes);
  } catch (const base::Error& error) {
    // For whoever starts the program a wrong path is a wrong configuration.
    throw base::ConfigError(base::concat("cannot read the configuration ", path.string(), ": ", error.what()));
  }
  return from_text(text, path.string());
}

ConfigInput ConfigInput::from_text(std::string_view text, const std::string& name) {
  ConfigInput input;
  std::vector<YAML::Node> documents;
  try {
    documents = YAML::LoadAll(std::string(text));
  } catch (const YAML::Exception& error) {
    throw base::ConfigError(base::concat(name, ":", error.mark.line + 1, ": not valid YAML: ", error.msg, " (column ",
                                         error.mark.column + 1, ")"));
  }
  base::require<base::ConfigError>(documents.size() <= 1, name, " holds ", documents.size(),
                                   " YAML documents; write one, without a '---' line inside");
  YAML::Node root = documents.empty() ? YAML::Node(YAML::NodeType::Null) : documents.front();
  base::require<base::ConfigError>(root.IsMap() || root.IsNull(), name, ":", root.Mark().line + 1,
                                   ": expected keys with values ('steps: 100'), got ", node_kind(root));
  input.parsed_ = std::make_shared<Parsed>(Parsed{name, root});
  return input;
}

void ConfigInput::set(std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  base::require<base::ConfigError>(equals != std::string_view::npos && equals > 0, "--set ", assignment,
                                   ": expected KEY=VALUE, for instance --set training.steps=100");
  overrides_[std::string(assignment.substr(0, equals))] = std::string(assignment.substr(equals + 1));
}

const std::string& ConfigInput::name() const { return parsed_->name; }

bool ConfigInput::has(const std::string& key) const { return parsed_->root.IsMap() && parsed_->root[key].IsDefined(); }

// Walks a description beside the parsed file; collects what is wrong instead of throwing.
class ConfigFiller : public base::FieldVisitor {
 public:
  ConfigFiller(const ConfigInput& input, std::string default_source)
      : input_(input), default_source_(std::move(default_source)) {
    open_frame("", input.parsed_->root);
  }

  void field(std::string_view name, bool& value, base::Role, std::string_view) override {
    fill(name, value, "true or false", [](const std::string& text, bool& out) { return parse_bool(text, out); });
  }
  void field(std::string_view name, int64_t& value, base::Role, std::string_view, base::Range<int64_t> range) override {
    fill(name, value, expected_integer(range),
         [range](const std::string& text, int64_t& out) { return parse_integer(text, range, out); });
  }
  void field(std::string_view name, double& value, base::Role, std::string_view, base::Range<double> range) override {
    fill(name, value, expected_number(range),
         [range](const std::string& text, double& out) { return parse_number(text, range, out); });
  }
  void field(std::string_view name, std::string& value, base::Role, std::string_view,
             const std::vector<std::string>& choices) override;
  void field(std::string_view name, std::vector<int64_t>& values, base::Role, std::string_view,
             base::Range<int64_t> range) override {
    fill_list(name, values, expected_integer(range),
              [range](const std::string& text, int64_t& out) { return parse_integer(text, range, out); });
  }
  void field(std::string_view name, std::vector<double>& values, base::Role, std::string_view,
             base::Range<double> range) override {
    fill_list(name, values, expected_number(range),
              [range](const std::string& text, double& out) { return parse_number(text, range, out); });
  }
  void field(std::string_view name, std::vector<std::string>& values, base::Role, std::string_view) override {
    fill_list(name, values, "text", [](const std::string& text, std::string& out) {
      out = text;
      return std::string();
    });
  }
  void begin_section(std::string_view name, std::string_view help) override;
  void end_section() override { close_frame(); }

  // Closes the file's own frame; throws one ConfigError with everything that was found.
  ConfigSources finish();

 private:
  // One map of the file that is being walked.
  struct Frame {
    std::string prefix;                    // "adapter." or ""
    std::map<std::string, Found> entries;  // first of each key
    std::vector<std::string> known;        // what the description names here
  };
  struct Unknown {
    int line;
    std::string prefix, name;
    std::vector<std::string> siblings;
  };

  void open_frame(const std::string& prefix, const YAML::Node& node);
  void close_frame();
  // Registers the key and returns what the input has for it, overrides first.
  std::optional<Found> find(std::string_view name);
  void add_problem(const Found& found, const std::string& key, const std::string& what);
  std::string file_line(int line) const { return base::concat(input_.name(), ":", line); }

  // Whether `node` is a plain (unquoted) scalar; reports it where not.
  bool plain_scalar(const Found& found, const YAML::Node& node, const std::string& key, const std::string& expected);

  template <class Value, class Parse>
  void fill(std::string_view name, Value& value, const std::string& expected, const Parse& parse);
  template <class Value, class Parse>
  void fill_list(std::string_view name, std::vector<Value>& values, const std::string& expected, const Parse& parse);

  const ConfigInput& input_;
  std::string default_source_;
  std::vector<Frame> frames_;
  ConfigSources sources_;
  std::set<std::string> sections_;
  std::vector<Problem> problems_;
  std::vector<Unknown> unknowns_;
};

void ConfigFiller::open_frame(const std::string& prefix, const YAML::Node& node) {
  Frame frame;
  frame.prefix = prefix;
  if (node.IsMap()) {
    for (const auto& entry : node) {
      const int line = entry.first.Mark().line + 1;
      if (!entry.first.IsScalar()) {
        problems_.push_back({line, base::concat(file_line(line), ": a key must be a plain name")});
        continue;
      }
      const std::string name = entry.first.Scalar();
      const auto [first, is_new] = frame.entries.emplace(name, Found{entry.second, line, ""});
      if (!is_new) {
        problems_.push_back(
            {line, base::concat(file_line(line), ": ", prefix, name, ": duplicate key; it is also in line ",
                                first->second.line, ", remove one of them")});
      }
    }
  }
  frames_.push_back(std::move(frame));
}

void ConfigFiller::close_frame() {
  const Frame frame = std::move(frames_.back());
  frames_.pop_back();
  for (const auto& [name, found] : frame.entries) {
    if (std::find(frame.known.begin(), frame.known.end(), name) != frame.known.end()) continue;
    unknowns_.push_back({found.line, frame.prefix, name, frame.known});
  }
}

std::optional<Found> ConfigFiller::find(std::string_view name) {
  Frame& frame = frames_.back();
  frame.known.emplace_back(name);
  const std::string key = frame.prefix + std::string(name);
  sources_[key] = default_source_;
  std::optional<Found> found;
  if (const auto entry = frame.entries.find(std::string(name)); entry != frame.entries.end()) {
    found = entry->second;
  }
  if (const auto entry = input_.overrides_.find(key); entry != input_.overrides_.end()) {
    YAML::Node node(entry->second);
    try {
      node = YAML::Load(entry->second);
    } catch (const YAML::Exception&) {
      // Not YAML: taken as text; the field says what it expected.
    }
    found = Found{node, 0, entry->second};
  }
  if (found) sources_[key] = found->is_override() ? "--set" : file_line(found->line);
  return found;
}

void ConfigFiller::add_problem(const Found& found, const std::string& key, const std::string& what) {
  const std::string where = found.is_override() ? "--set" : file_line(found.line) + ":";
  problems_.push_back({found.line, base::concat(where, " ", key, ": ", what)});
}

bool ConfigFiller::plain_scalar(const Found& found, const YAML::Node& node, const std::string& key,
                                const std::string& expected) {
  if (!node.IsScalar()) {
    add_problem(found, key, "expected " + expected + ", got " + node_kind(node));
    return false;
  }
  if (is_quoted(node)) {
    add_problem(found, key, "expected " + expected + ", got the text \"" + node.Scalar() + "\" (remove the quotes)");
    return false;
  }
  return true;
}

template <class Value, class Parse>
void ConfigFiller::fill(std::string_view name, Value& value, const std::string& expected, const Parse& parse) {
  const std::string key = frames_.back().prefix + std::string(name);
  const std::optional<Found> found = find(name);
  if (!found || !plain_scalar(*found, found->node, key, expected)) return;
  const std::string wrong = parse(found->node.Scalar(), value);
  if (!wrong.empty()) add_problem(*found, key, wrong);
}

void ConfigFiller::field(std::string_view name, std::string& value, base::Role, std::string_view,
                         const std::vector<std::string>& choices) {
  const std::string key = frames_.back().prefix + std::string(name);
  const std::string expected = choices.empty() ? "text" : expected_choice(choices);
  const std::optional<Found> found = find(name);
  if (!found) return;
  std::string text;
  if (found->is_override()) {
    text = found->override_text;  // a shell has taken off the quotes
  } else if (found->node.IsScalar()) {
    text = found->node.Scalar();
  } else {
    add_problem(*found, key,
                "expected " + expected + ", got " + node_kind(found->node) +
                    (found->node.IsNull() ? " (write \"\" for an empty text)" : ""));
    return;
  }
  if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end()) {
    const std::string nearest = nearest_name(text, choices);
    add_problem(*found, key,
                "expected " + expected + ", got '" + text + "'" +
                    (nearest.empty() ? "" : "; did you mean " + yaml_text(nearest) + "?"));
    return;
  }
  value = text;
}

template <class Value, class Parse>
void ConfigFiller::fill_list(std::string_view name, std::vector<Value>& values, const std::string& expected,
                             const Parse& parse) {
  constexpr bool kIsText = std::is_same_v<Value, std::string>;
  const std::string key = frames_.back().prefix + std::string(name);
  const std::optional<Found> found = find(name);
  if (!found) return;
  if (!found->node.IsSequence()) {
    add_problem(*found, key,
                "expected a list, each element " + expected + ", got " + node_kind(found->node) +
                    (found->node.IsScalar() ? " (write [" + found->node.Scalar() + "])" : " (write [] for none)"));
    return;
  }
  std::vector<Value> read;
  std::size_t index = 0;
  const std::size_t num_problems = problems_.size();
  for (const YAML::Node& element : found->node) {
    const std::string element_key = base::concat(key, "[", index++, "]");
    Found at_element = *found;
    if (!found->is_override()) at_element.line = element.Mark().line + 1;
    if (kIsText ? !element.IsScalar() : !plain_scalar(at_element, element, element_key, expected)) {
      if (kIsText) add_problem(at_element, element_key, "expected " + expected + ", got " + node_kind(element));
      continue;
    }
    Value value{};
    const std::string wrong = parse(element.Scalar(), value);
    if (!wrong.empty()) add_problem(at_element, element_key, wrong);
    read.push_back(value);
  }
  if (problems_.size() == num_problems) values = std::move(read);
}

void ConfigFiller::begin_section(std::string_view name, std::string_view) {
  Frame& frame = frames_.back();
  frame.known.emplace_back(name);
  const std::string key = frame.prefix + std::string(name);
  sections_.insert(key);
  Found section{YAML::Node(YAML::NodeType::Null), 0, ""};
  if (const auto entry = frame.entries.find(std::string(name)); entry != frame.entries.end()) section = entry->second;
  // A section without keys (all commented out, say) is an empty one.
  if (!section.node.IsMap() && !section.node.IsNull()) {
    add_problem(section, key, "expected a section (indented keys), got " + node_kind(section.node));
  }
  open_frame(key + ".", section.node);
}

ConfigSources ConfigFiller::finish() {
  close_frame();
  std::vector<std::string> all_keys;
  for (const auto& [key, source] : sources_) all_keys.push_back(key);
  const auto suggestion = [&all_keys](const std::string& prefix, const std::string& name,
                                      const std::vector<std::string>& siblings) -> std::string {
    // The same name in another section is the likelier slip than a similar one in this section.
    for (const std::string& key : all_keys) {
      if (key.size() > name.size() && key.ends_with("." + name)) return "; did you mean " + key + "?";
    }
    std::string nearest = nearest_name(name, siblings);
    if (!nearest.empty()) return "; did you mean " + prefix + nearest + "?";
    nearest = nearest_name(prefix + name, all_keys);
    return nearest.empty() ? "" : "; did you mean " + nearest + "?";
  };
  for (const Unknown& unknown : unknowns_) {
    problems_.push_back(
        {unknown.line, base::concat(file_line(unknown.line), ": ", unknown.prefix, unknown.name, ": unknown key",
                                    suggestion(unknown.prefix, unknown.name, unknown.siblings))});
  }
  for (const auto& [key, text] : input_.overrides_) {
    if (sources_.contains(key)) continue;
    const std::string what = sections_.contains(key) ? ": this is a section; set its keys one by one"
                                                     : ": unknown key" + suggestion("", key, all_keys);
    problems_.push_back({0, base::concat("--set ", key, what)});
  }
  if (problems_.empty()) return sources_;

  std::stable_sort(problems_.begin(), problems_.end(),
                   [](const Problem& a, const Problem& b) { return a.line < b.line; });
  std::ostringstream message;
  message << "the configuration " << input_.name() << " has " << problems_.size()
          << (problems_.size() == 1 ? " error:" : " errors:");
  for (const Problem& problem : problems_) message << "\n  " << problem.text;
  throw base::ConfigError(message.str());
}

ConfigSources fill_config(const ConfigInput& input, const Describe& describe, const std::string& default_source) {
  ConfigFiller filler(input, default_source);
  describe(filler);
  return filler.finish();
}

}  // namespace rosa::launch
