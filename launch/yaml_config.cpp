#include "launch/yaml_config.h"

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest_name.h"
#include "base/printable.h"
#include "launch/key_names.h"
#include "launch/path_text.h"
#include "launch/yaml_scalar.h"
#include "launch/yaml_tree.h"

namespace rosa::launch {
namespace {

using base::concat;

constexpr int64_t kMaxFileBytes = int64_t{1} << 20;
constexpr std::size_t kMaxProblems = 50;
constexpr std::size_t kMaxShownBytes = 60;

// A value as found: in the file (a node and the line of its key) or given as an override (a text).
struct Found {
  YamlNodePtr node;
  int line = 0;  // 0: an override
  std::string override_text = {};
  std::string no_yaml = {};  // why the override is no YAML; it is taken as text then

  bool is_override() const { return line == 0; }
};

std::string shown(std::string_view text) { return base::excerpt(text, kMaxShownBytes); }

std::string node_kind(const YamlNode& node) {
  if (node.is_map()) return "a section";
  if (node.is_list()) return "a list";
  if (node.is_null()) return "nothing";
  return "'" + shown(node.text) + "'";
}

YamlNodePtr null_node() { return std::make_shared<YamlNode>(); }

}  // namespace

ConfigInput::ConfigInput() : parsed_(std::make_shared<Parsed>(Parsed{"(defaults)", null_node()})) {}

ConfigInput ConfigInput::from_file(const std::filesystem::path& path) {
  std::string text;
  try {
    text = base::read_file(path, kMaxFileBytes, base::FileKind::any);  // `rosa train <(command)`
  } catch (const base::Error& error) {
    // For whoever starts the program a wrong path is a wrong configuration.
    throw base::ConfigError(
        concat("cannot read the configuration ", base::printable(path.string()), ": ", error.what()));
  }
  return from_text(text, path.string());
}

ConfigInput ConfigInput::from_text(std::string_view text, const std::string& name) {
  ConfigInput input;
  const std::string printable_name = base::printable(name);
  const YamlNodePtr root = parse_yaml(text, printable_name);
  base::require<base::ConfigError>(root->is_map() || root->is_null(), printable_name, ":", std::max(1, root->line),
                                   ": expected keys with values ('steps: 100'), got ", node_kind(*root));
  input.parsed_ = std::make_shared<Parsed>(Parsed{printable_name, root});
  return input;
}

void ConfigInput::set(std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    no_assignments_.emplace_back(assignment);
  } else {
    overrides_[std::string(assignment.substr(0, equals))] = std::string(assignment.substr(equals + 1));
  }
}

const std::string& ConfigInput::name() const { return parsed_->name; }

bool ConfigInput::has(const std::string& key) const {
  const auto& entries = parsed_->root->entries;
  return std::any_of(entries.begin(), entries.end(), [&key](const auto& entry) { return entry.first->text == key; });
}

std::string ConfigInput::text_of(const std::string& key) const {
  if (const auto found = overrides_.find(key); found != overrides_.end()) return found->second;
  YamlNodePtr node = parsed_->root;
  for (size_t begin = 0, dot = 0; dot != std::string::npos; begin = dot + 1) {
    dot = key.find('.', begin);
    const std::string name = key.substr(begin, dot == std::string::npos ? dot : dot - begin);
    const auto& entries = node->entries;
    const auto found =
        std::find_if(entries.begin(), entries.end(), [&name](const auto& entry) { return entry.first->text == name; });
    if (found == entries.end()) return "";
    node = found->second;
  }
  return node->text;
}

// Walks a description beside the parsed file; collects what is wrong instead of throwing.
class ConfigFiller : public base::FieldVisitor {
 public:
  explicit ConfigFiller(const ConfigInput& input) : input_(input) { open_frame("", input.parsed_->root); }

  void field(std::string_view name, bool& value, base::Role, std::string_view help) override {
    fill(name, value, help, "true or false", [](const std::string& text, bool& out) { return parse_bool(text, out); });
  }
  void field(std::string_view name, int64_t& value, base::Role, std::string_view help,
             base::Range<int64_t> range) override {
    fill(name, value, help, expected_integer(range),
         [range](const std::string& text, int64_t& out) { return parse_integer(text, range, out); });
  }
  void field(std::string_view name, double& value, base::Role, std::string_view help,
             base::Range<double> range) override {
    fill(name, value, help, expected_number(range),
         [range](const std::string& text, double& out) { return parse_number(text, range, out); });
  }
  void field(std::string_view name, std::string& value, base::Role, std::string_view help,
             const std::vector<std::string>& choices) override {
    const std::string key = add_key(name, help);
    const std::string expected = choices.empty() ? "text" : expected_choice(choices);
    std::optional<std::string> text = fill_text(name, expected, "write \"\" for an empty text");
    if (!text) return;
    if (const auto earlier = earlier_.find(key + '=' + *text); earlier != earlier_.end()) text = earlier->second;
    if (choices.empty() || std::find(choices.begin(), choices.end(), *text) != choices.end()) {
      value = *text;
      return;
    }
    const std::string nearest = base::nearest_name(*text, choices);
    add_problem(*find(name), key,
                concat("expected ", expected, ", got '", shown(*text), "'",
                       nearest.empty() ? "" : "; did you mean " + yaml_text(nearest) + "?"));
  }
  void path(std::string_view name, std::string& value, base::Role, std::string_view help) override {
    const std::string key = add_key(name, help);
    const std::optional<std::string> text =
        fill_text(name, "a path", "write ~/ for the home folder, \"\" for an empty text");
    if (!text) return;
    const std::string wrong = expand_path(*text, value);
    if (!wrong.empty()) add_problem(*find(name), key, wrong);
  }
  void field(std::string_view name, std::vector<int64_t>& values, base::Role, std::string_view help,
             base::Range<int64_t> range) override {
    fill_list(name, values, help, expected_integer(range),
              [range](const std::string& text, int64_t& out) { return parse_integer(text, range, out); });
  }
  void field(std::string_view name, std::vector<double>& values, base::Role, std::string_view help,
             base::Range<double> range) override {
    fill_list(name, values, help, expected_number(range),
              [range](const std::string& text, double& out) { return parse_number(text, range, out); });
  }
  void field(std::string_view name, std::vector<std::string>& values, base::Role, std::string_view help) override {
    fill_list(name, values, help, "text", [](const std::string& text, std::string& out) {
      out = text;
      return std::string();
    });
  }
  void number_or_list(std::string_view name, int64_t& value, std::vector<int64_t>& list, base::Role role,
                      std::string_view help, base::Range<int64_t> range, base::Range<int64_t> range_in_list) override {
    const std::optional<Found> found = find(name);
    if (found && found->node->kind == YamlNode::Kind::list) {
      field(name, list, role, help, range_in_list);
    } else {
      field(name, value, role, help, range);
      if (found) list.clear();
    }
  }
  void earlier_spellings(std::string_view name,
                         const std::vector<std::pair<std::string, std::string>>& spellings) override {
    for (const auto& [before, now] : spellings) earlier_[full_key(name) + '=' + before] = now;
  }
  void begin_section(std::string_view name, std::string_view help) override;
  void end_section() override { close_frame(); }
  size_t begin_list(std::string_view name, size_t size, base::Role role, std::string_view help) override;

  // Closes the file's own frame; throws one ConfigError with everything that was found and what `check` adds.
  ConfigSources finish(const Check& check);

 private:
  // One map of the file that is being walked.
  struct Frame {
    std::string prefix;                    // "adapter." or ""
    std::map<std::string, Found> entries;  // first of each key
  };
  struct Unknown {
    int line;
    std::string prefix, name;
  };

  void open_frame(const std::string& prefix, const YamlNodePtr& node, bool from_override = false);
  void close_frame();
  std::string full_key(std::string_view name) const { return frames_.back().prefix + std::string(name); }
  // Registers the key and its source; returns it in full.
  std::string add_key(std::string_view name, std::string_view help);
  // What the input has for the key, overrides first.
  std::optional<Found> find(std::string_view name) const;
  void add_problem(const Found& found, const std::string& key, const std::string& what);
  std::string file_line(int line) const { return concat(input_.name(), ":", line); }
  // How a message begins; line 0 is an override's.
  std::string place(int line) const { return line == 0 ? "--set " : file_line(line) + ": "; }

  // The text of a key that takes one; nothing where it has none, which is reported unless it is missing.
  std::optional<std::string> fill_text(std::string_view name, const std::string& expected, const char* if_nothing);
  // Whether `node` is a plain (unquoted) scalar; reports it where not.
  bool plain_scalar(const Found& found, const YamlNode& node, const std::string& key, const std::string& expected);

  template <class Value, class Parse>
  void fill(std::string_view name, Value& value, std::string_view help, const std::string& expected,
            const Parse& parse);
  template <class Value, class Parse>
  void fill_list(std::string_view name, std::vector<Value>& values, std::string_view help, const std::string& expected,
                 const Parse& parse);
  // How a text in the place of a list is written as one; empty where it can't be told.
  template <class Value, class Parse>
  std::string list_hint(const Found& found, const std::string& key, const Parse& parse) const;

  void report_unknown_keys();
  void report_overrides();
  void apply(const Check& check);

  const ConfigInput& input_;
  std::vector<Frame> frames_;
  ConfigSources sources_;
  std::map<std::string, std::string> earlier_;  // "key=text" of before, what it is now
  KnownKeys known_;                             // keys and sections with their help
  std::set<std::string> sections_;              // full keys
  std::set<std::string> wrong_;                 // full keys with a problem of their own
  std::vector<base::PlacedProblem> problems_;
  std::vector<Unknown> unknowns_;
};

void ConfigFiller::open_frame(const std::string& prefix, const YamlNodePtr& node, bool from_override) {
  Frame frame;
  frame.prefix = prefix;
  for (const auto& [key, value] : node->entries) {
    // An override is not in the file.
    const int line = from_override ? 0 : key->line;
    if (!key->is_scalar()) {
      problems_.push_back({line, concat(place(line), "a key must be a plain name")});
      continue;
    }
    const auto [first, is_new] = frame.entries.emplace(key->text, Found{value, line, from_override ? value->text : ""});
    if (!is_new) {
      problems_.push_back({line, concat(place(line), prefix, shown(key->text), ": duplicate key; ",
                                        line == 0 ? "" : concat("it is also in line ", first->second.line, ", "),
                                        "remove one of them")});
    }
  }
  frames_.push_back(std::move(frame));
}

void ConfigFiller::close_frame() {
  const Frame frame = std::move(frames_.back());
  frames_.pop_back();
  for (const auto& [name, found] : frame.entries) {
    const bool is_known = known_.contains(frame.prefix + name) && name.find('.') == std::string::npos;
    if (!is_known) unknowns_.push_back({found.line, frame.prefix, name});
  }
}

std::string ConfigFiller::add_key(std::string_view name, std::string_view help) {
  const std::string key = full_key(name);
  known_[key] = help;
  const std::optional<Found> found = find(name);
  sources_[key] = !found ? "default" : found->is_override() ? "--set" : file_line(found->line);
  return key;
}

std::optional<Found> ConfigFiller::find(std::string_view name) const {
  const Frame& frame = frames_.back();
  if (const auto entry = input_.overrides_.find(full_key(name)); entry != input_.overrides_.end()) {
    Found found{std::make_shared<YamlNode>(YamlNode{.kind = YamlNode::Kind::scalar, .text = entry->second}), 0,
                entry->second};
    try {
      const YamlNodePtr node = parse_yaml(entry->second, "--set");
      // YAML would fold the lines of a text into one, and no message would show them.
      const bool is_folded = node->is_scalar() && entry->second.find('\n') != std::string::npos;
      if (!is_folded) found.node = node;
    } catch (const base::ConfigError& error) {
      found.no_yaml = error.what();
    }
    return found;
  }
  const auto entry = frame.entries.find(std::string(name));
  return entry == frame.entries.end() ? std::nullopt : std::optional<Found>(entry->second);
}

void ConfigFiller::add_problem(const Found& found, const std::string& key, const std::string& what) {
  const std::string where = found.is_override() ? "--set" : file_line(found.line) + ":";
  wrong_.insert(key.substr(0, key.find('[')));
  problems_.push_back({found.line, concat(where, " ", key, ": ", what)});
}

bool ConfigFiller::plain_scalar(const Found& found, const YamlNode& node, const std::string& key,
                                const std::string& expected) {
  if (!node.is_scalar()) {
    add_problem(found, key, "expected " + expected + ", got " + node_kind(node));
    return false;
  }
  if (node.is_quoted) {
    add_problem(found, key, "expected " + expected + ", got the text \"" + shown(node.text) + "\" (remove the quotes)");
    return false;
  }
  return true;
}

template <class Value, class Parse>
void ConfigFiller::fill(std::string_view name, Value& value, std::string_view help, const std::string& expected,
                        const Parse& parse) {
  const std::string key = add_key(name, help);
  const std::optional<Found> found = find(name);
  if (!found || !plain_scalar(*found, *found->node, key, expected)) return;
  std::string wrong = parse(found->node->text, value);
  if (wrong.empty()) return;
  if (is_infinite_text(found->node->text)) wrong += concat(" (only finite numbers; ", key, ": ", help, ")");
  add_problem(*found, key, wrong);
}

std::optional<std::string> ConfigFiller::fill_text(std::string_view name, const std::string& expected,
                                                   const char* if_nothing) {
  const std::optional<Found> found = find(name);
  if (!found) return std::nullopt;
  if (found->is_override()) return found->override_text;  // a shell has taken off the quotes
  if (found->node->is_scalar()) return found->node->text;
  add_problem(*found, full_key(name),
              concat("expected ", expected, ", got ", node_kind(*found->node),
                     found->node->is_null() ? concat(" (", if_nothing, ")") : ""));
  return std::nullopt;
}

template <class Value, class Parse>
std::string ConfigFiller::list_hint(const Found& found, const std::string& key, const Parse& parse) const {
  constexpr bool kIsText = std::is_same_v<Value, std::string>;
  std::string text = found.node->text;
  // Of a list that is no YAML, what stands between its brackets.
  if (text.starts_with('[')) text.erase(0, 1);
  if (text.ends_with(']')) text.pop_back();
  std::istringstream pieces(text);
  std::string list;
  for (std::string piece; std::getline(pieces, piece, ',');) {
    piece.erase(0, piece.find_first_not_of(" \t\"'"));
    piece.erase(piece.find_last_not_of(" \t\"'") + 1);
    Value value{};
    if (piece.empty() || !parse(piece, value).empty()) return "";
    // Quotes also where they could be left out: a star at the beginning needs them.
    list += concat(list.empty() ? "" : ", ", kIsText ? "\"" + piece + "\"" : piece);
  }
  if (list.empty()) return "";
  list = "[" + shown(list) + "]";
  return found.is_override() ? concat(" (write --set '", key, "=", list, "')") : concat(" (write ", list, ")");
}

template <class Value, class Parse>
void ConfigFiller::fill_list(std::string_view name, std::vector<Value>& values, std::string_view help,
                             const std::string& expected, const Parse& parse) {
  constexpr bool kIsText = std::is_same_v<Value, std::string>;
  const std::string key = add_key(name, help);
  const std::optional<Found> found = find(name);
  if (!found) return;
  if (!found->node->is_list()) {
    add_problem(*found, key,
                concat("expected a list, each element ", expected, ", got ", node_kind(*found->node),
                       found->node->is_scalar() ? list_hint<Value>(*found, key, parse) : " (write [] for none)"));
    return;
  }
  std::vector<Value> read;
  std::size_t index = 0;
  const std::size_t num_problems = problems_.size();
  for (const YamlNodePtr& element : found->node->items) {
    const std::string element_key = concat(key, "[", index++, "]");
    Found at_element = *found;
    if (!found->is_override()) at_element.line = element->line;
    if (kIsText ? !element->is_scalar() : !plain_scalar(at_element, *element, element_key, expected)) {
      if (kIsText) add_problem(at_element, element_key, "expected " + expected + ", got " + node_kind(*element));
      continue;
    }
    Value value{};
    const std::string wrong = parse(element->text, value);
    if (!wrong.empty()) add_problem(at_element, element_key, wrong);
    read.push_back(value);
  }
  if (problems_.size() == num_problems) values = std::move(read);
}

void ConfigFiller::begin_section(std::string_view name, std::string_view help) {
  const Frame& frame = frames_.back();
  const std::string key = full_key(name);
  known_[key] = help;
  sections_.insert(key);
  Found section{null_node()};
  if (const auto entry = frame.entries.find(std::string(name)); entry != frame.entries.end()) section = entry->second;
  // A section without keys (all commented out, say) is an empty one.
  if (!section.node->is_map() && !section.node->is_null()) {
    add_problem(section, key, "expected a section (indented keys), got " + node_kind(*section.node));
  }
  open_frame(key + ".", section.node, section.is_override() && section.node->is_map());
}

// The entries of a list become sections of their own: "sources[0]".
size_t ConfigFiller::begin_list(std::string_view name, size_t size, base::Role, std::string_view help) {
  const std::string key = add_key(name, help);
  const std::optional<Found> found = find(name);
  if (!found) return size;
  if (!found->node->is_list()) {
    add_problem(*found, key, "expected a list of sections ('- path: a'), got " + node_kind(*found->node));
    return size;
  }
  for (std::size_t i = 0; i < found->node->items.size(); ++i) {
    const YamlNodePtr& item = found->node->items[i];
    frames_.back().entries[concat(name, "[", i, "]")] = {item, found->is_override() ? 0 : item->line, item->text};
  }
  return found->node->items.size();
}

void ConfigFiller::report_unknown_keys() {
  for (const Unknown& unknown : unknowns_) {
    // More are not shown, and looking for what they may have meant takes time.
    const bool is_shown = problems_.size() < kMaxProblems;
    const std::string what = !is_shown ? ""
                             : known_.contains(unknown.prefix + unknown.name)
                                 ? "unknown key; did you mean " + unknown.prefix + unknown.name +
                                       "? (a file has sections: 'train: {num_steps: 100}')"
                             : unknown.name == "<<"
                                 ? "merge keys are not read; write the keys themselves here"
                                 : "unknown key" + key_suggestion(unknown.prefix, unknown.name, known_);
    problems_.push_back({unknown.line, concat(place(unknown.line), unknown.prefix, shown(unknown.name), ": ", what)});
  }
}

void ConfigFiller::report_overrides() {
  const auto example_in = [this](const std::string& section) {
    const auto key = sources_.lower_bound(section + ".");
    const bool found = key != sources_.end() && key->first.starts_with(section + ".");
    return found ? ", for instance --set " + key->first + "=VALUE" : std::string();
  };
  for (const std::string& text : input_.no_assignments_) {
    const std::string example = sections_.contains(text)  ? example_in(text)
                                : sources_.contains(text) ? ", as in --set " + text + "=VALUE"
                                : sources_.empty()        ? ""
                                                   : ", for instance --set " + sources_.begin()->first + "=VALUE";
    problems_.push_back({0, concat("--set ", shown(text), ": expected KEY=VALUE", example)});
  }
  for (const auto& [key, text] : input_.overrides_) {
    if (sources_.contains(key)) continue;
    const std::size_t dot = key.rfind('.');
    const std::string prefix = dot == std::string::npos ? "" : key.substr(0, dot + 1);
    const std::string what = sections_.contains(key)
                                 ? "this is a section; set its keys one by one" + example_in(key)
                                 : "unknown key" + key_suggestion(prefix, key.substr(prefix.size()), known_);
    problems_.push_back({0, concat("--set ", shown(key), ": ", what)});
  }
}

// A rule is left out where a key that it looks at could not be read.
void ConfigFiller::apply(const Check& check) {
  if (!check) return;
  base::ConfigProblems found;
  check(found);
  for (const base::ConfigProblem& problem : found.all()) {
    const bool is_told = std::any_of(problem.keys.begin(), problem.keys.end(),
                                     [this](const std::string& key) { return wrong_.contains(key); });
    if (!is_told) problems_.push_back(base::placed(problem, sources_));
  }
}

ConfigSources ConfigFiller::finish(const Check& check) {
  close_frame();
  report_unknown_keys();
  report_overrides();
  apply(check);
  if (!problems_.empty()) base::throw_sorted(input_.name(), std::move(problems_));
  return sources_;
}

ConfigSources fill_config(const ConfigInput& input, const Describe& describe, const Check& check) {
  ConfigFiller filler(input);
  describe(filler);
  return filler.finish(check);
}

}  // namespace rosa::launch
