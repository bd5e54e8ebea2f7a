#include "launch/run_settings.h"

#include <string_view>

#include "base/file.h"
#include "launch/yaml_tree.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxConfigBytes = int64_t{1} << 24;

std::string text_of(const YamlNode& node) {
  if (node.is_scalar()) return node.text;
  std::string text;
  for (const YamlNodePtr& item : node.items) text += (text.empty() ? "" : ", ") + text_of(*item);
  for (const auto& [key, value] : node.entries)
    text += (text.empty() ? "" : ", ") + text_of(*key) + ": " + text_of(*value);
  if (node.is_list()) return "[" + text + "]";
  return node.is_map() ? "{" + text + "}" : text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : lines_(lines_of(text)) {}

  void add(const YamlNode& node, const std::string& key) {
    if (node.is_map() && !(node.entries.empty() && !key.empty())) {
      for (const auto& [name, value] : node.entries) {
        add(*value, key.empty() ? text_of(*name) : key + "." + text_of(*name));
      }
    } else {
      settings.push_back({key, text_of(node), comment_of(node.line)});
    }
  }

  std::vector<RunSetting> settings;

 private:
  // Behind the last "  # " of a line: a value may hold one, the comment of a run's configuration does not.
  std::string comment_of(int line) const {
    if (line < 1 || static_cast<std::size_t>(line) > lines_.size()) return "";
    const std::string_view text = lines_[static_cast<std::size_t>(line) - 1];
    const std::size_t place = text.rfind("  # ");
    return place == text.npos ? "" : std::string(text.substr(place + 4));
  }

  std::vector<std::string_view> lines_;
};

}  // namespace

std::vector<RunSetting> read_run_settings(const fs::path& run_folder) {
  const fs::path path = run_folder / "config.yaml";
  if (!fs::exists(path)) return {};
  const std::string text = base::read_file(path, kMaxConfigBytes);
  Reader reader(text);
  const YamlNodePtr root = parse_yaml(text, path.string());
  if (root->is_map()) reader.add(*root, "");
  return std::move(reader.settings);
}

}  // namespace rosa::launch
