// One YAML document as a tree, read within bounds of depth and size: what yaml-cpp makes of hostile or torn text (no
// end of documents, nesting without end) ends here with file, line and a hint. Values stay the texts that they are.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rosa::launch {

struct YamlNode;
using YamlNodePtr = std::shared_ptr<const YamlNode>;

struct YamlNode {
  enum class Kind { null, scalar, list, map };

  Kind kind = Kind::null;
  int line = 0;                                                   // from 1
  std::string text = {};                                          // of a scalar
  bool is_quoted = false;                                         // a scalar
  std::vector<YamlNodePtr> items = {};                            // of a list
  std::vector<std::pair<YamlNodePtr, YamlNodePtr>> entries = {};  // of a map, in the order of the text

  bool is_null() const { return kind == Kind::null; }
  bool is_scalar() const { return kind == Kind::scalar; }
  bool is_list() const { return kind == Kind::list; }
  bool is_map() const { return kind == Kind::map; }
};

// A null node for an empty text. `name` stands for the file in messages. Throws ConfigError (file, line, what to write
// instead) where the text is no YAML, holds more than one document, or is nested or long beyond all configurations.
YamlNodePtr parse_yaml(std::string_view text, const std::string& name);

}  // namespace rosa::launch
