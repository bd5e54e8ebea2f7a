#include "launch/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <sstream>

#include "base/error.h"
#include "base/printable.h"

namespace rosa::launch {
namespace {

using base::concat;
using base::ConfigError;
using base::require;

constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kMaxNodes = 50000;
constexpr std::size_t kMaxShownBytes = 60;

// Line `number` (from 1) of a text, without its end.
std::string_view line_of(std::string_view text, int number) {
  for (int line = 1; line < number; ++line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

bool is_indented_by_tab(std::string_view line) {
  return line.substr(0, line.find_first_not_of(" \t")).find('\t') != std::string_view::npos;
}

// What the writer of a text that is no YAML has probably run into.
std::string hint(std::string_view text, int line, std::string_view problem) {
  int number = 0;
  std::istringstream lines{std::string(text)};
  for (std::string each; std::getline(lines, each);) {
    ++number;
    if (!is_indented_by_tab(each)) continue;
    return concat("; line ", number, " is indented with a tab: YAML wants blanks");
  }
  if (problem.find("anchor") != std::string_view::npos || problem.find("alias") != std::string_view::npos) {
    return "; a text that begins with * or & stands in quotes, as in [\"*.rosa_attn.*\"]";
  }
  const std::string_view found = line_of(text, line);
  if (problem == "illegal map value") return "; a text that holds ': ' stands in quotes";
  if (problem == "unknown token" && found.find_first_of("%@`") != std::string_view::npos) {
    return "; a text that begins with %, @ or ` stands in quotes";
  }
  return "";
}

// Makes the tree of the first document; throws at the start of a second one.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  YamlNodePtr root() const { return root_ ? root_ : std::make_shared<YamlNode>(); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++num_documents_ == 1) return;
    std::string_view rest = line_of(text_, mark.line + 1);
    rest.remove_prefix(std::min(rest.size(), static_cast<std::size_t>(std::max(0, mark.column))));
    const bool is_document = rest.empty() || line_of(text_, mark.line + 1).starts_with("---");
    fail(mark, is_document ? "a second YAML document begins here; write one, without a '---' line inside"
                           : concat("'", base::excerpt(rest, kMaxShownBytes),
                                    "' is left over behind the configuration; remove it"));
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, anchor, YamlNode::Kind::null); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const YamlNodePtr& node = anchors_[anchor];
    for (const auto& open : open_) {
      if (open.node == node) fail(mark, "an alias (*name) stands inside of what it names");
    }
    put(mark, node);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const auto node = add(mark, anchor, YamlNode::Kind::scalar);
    node->text = value;
    node->is_quoted = tag == "!";  // yaml-cpp tags a scalar in quotes "!", a plain one "?"
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, YamlNode::Kind::list);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, YamlNode::Kind::map);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Open {  // a list or map whose end has not come
    std::shared_ptr<YamlNode> node;
    YamlNodePtr key = nullptr;  // of the value that comes next
  };

  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) const {
    throw ConfigError(concat(name_, ":", mark.line + 1, ": ", what));
  }

  std::shared_ptr<YamlNode> add(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode::Kind kind) {
    auto node = std::make_shared<YamlNode>(YamlNode{.kind = kind, .line = mark.line + 1});
    if (anchor != YAML::NullAnchor) anchors_[anchor] = node;
    put(mark, node);
    return node;
  }

  void put(const YAML::Mark& mark, const YamlNodePtr& node) {
    if (++num_nodes_ > kMaxNodes) fail(mark, concat("more than ", kMaxNodes, " values: this is no configuration"));
    if (open_.empty()) {
      root_ = node;
      return;
    }
    Open& parent = open_.back();
    if (parent.node->is_list()) {
      parent.node->items.push_back(node);
    } else if (parent.key == nullptr) {
      parent.key = node;
    } else {
      parent.node->entries.emplace_back(std::move(parent.key), node);
      parent.key = nullptr;
    }
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode::Kind kind) {
    if (open_.size() >= kMaxDepth) {
      fail(mark, concat("nested deeper than ", kMaxDepth, " levels: this is no configuration"));
    }
    open_.push_back({add(mark, anchor, kind)});
  }

  std::string_view text_;
  const std::string& name_;
  YamlNodePtr root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNodePtr> anchors_;
  int num_documents_ = 0;
  std::size_t num_nodes_ = 0;
};

}  // namespace

YamlNodePtr parse_yaml(std::string_view text, const std::string& name) {
  const std::size_t null = text.find('\0');
  require<ConfigError>(null == std::string_view::npos, name, ": byte ", null, " is a NUL: this is no text file");
  std::istringstream stream{std::string(text)};
  TreeBuilder builder(text, name);
  try {
    YAML::Parser parser(stream);
    // The builder ends it at a second document: for some texts there is no end of them.
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    const int line = error.mark.line + 1;
    throw ConfigError(concat(name, ":", line, ": not valid YAML: ", base::excerpt(error.msg, kMaxShownBytes),
                             " (column ", error.mark.column + 1, ")", hint(text, line, error.msg)));
  }
  return builder.root();
}

}  // namespace rosa::launch
