// ConfigInput::take_variants: a list of sections of which each is laid over the rest of the file.
#include <algorithm>
#include <cctype>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "launch/yaml_config.h"

namespace rosa::launch {
namespace {

using base::concat;
using base::ConfigError;
using base::require;

YamlNodePtr value_of(const YamlNode& map, const std::string& key) {
  for (const auto& [name, value] : map.entries) {
    if (name->text == key) return value;
  }
  return nullptr;
}

std::shared_ptr<YamlNode> without(const YamlNode& map, const std::string& key) {
  auto rest = std::make_shared<YamlNode>(map);
  std::erase_if(rest->entries, [&key](const auto& entry) { return entry.first->text == key; });
  return rest;
}

// Keys of both are `over`'s, but sections of both are merged. A key that one of the two holds twice stays twice, and is
// told as that.
YamlNodePtr laid_over(const YamlNodePtr& under, const YamlNodePtr& over, const KeyAlternatives& alternatives) {
  if (!under->is_map() || !over->is_map()) return over;
  auto merged = std::make_shared<YamlNode>(*under);
  std::erase_if(merged->entries, [&over](const auto& entry) { return value_of(*over, entry.first->text) != nullptr; });
  for (const auto& [key, value] : over->entries) {
    // One of the two takes the place of the other.
    for (const auto& [left, right] : alternatives) {
      for (const auto& [given, replaced] : {std::pair{left, right}, std::pair{right, left}}) {
        const bool is_replaced = key->text == given && value_of(*over, replaced) == nullptr;
        if (is_replaced) merged = without(*merged, replaced);
      }
    }
    const YamlNodePtr below = value_of(*under, key->text);
    merged->entries.emplace_back(key, below ? laid_over(below, value, alternatives) : value);
  }
  return merged;
}

bool is_plain_name(const std::string& text) {
  const auto is_plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-'; };
  constexpr std::size_t kMaxLength = 40;
  return !text.empty() && text.size() <= kMaxLength && std::all_of(text.begin(), text.end(), is_plain);
}

}  // namespace

std::vector<ConfigVariant> ConfigInput::take_variants(const std::string& key, const KeyAlternatives& alternatives) {
  const std::string file = name();
  YamlNodePtr list = value_of(*parsed_->root, key);
  std::string where = list ? concat(file, ":", list->line, ": ") : "";
  const YamlNodePtr rest = without(*parsed_->root, key);
  if (const auto found = overrides_.find(key); found != overrides_.end()) {
    where = "--set ";
    list = parse_yaml(found->second, "--set " + key);
    overrides_.erase(found);
  }
  std::map<std::string, std::string> own;  // "NAME.a.b" to text
  const std::string prefix = key + ".";
  for (auto entry = overrides_.lower_bound(prefix); entry != overrides_.end() && entry->first.starts_with(prefix);) {
    own[entry->first.substr(prefix.size())] = entry->second;
    entry = overrides_.erase(entry);
  }
  parsed_ = std::make_shared<Parsed>(Parsed{file, rest});

  std::vector<ConfigVariant> variants;
  if (list != nullptr && !list->is_null()) {
    require<ConfigError>(list->is_list(), where, key, ": expected a list of sections ('- name: first', and its keys)");
    for (const YamlNodePtr& item : list->items) {
      const std::string place = where == "--set " ? where : concat(file, ":", item->line, ": ");
      require<ConfigError>(item->is_map(), place, key, ": expected a section ('- name: first', and its keys)");
      const YamlNodePtr given = value_of(*item, "name");
      const auto is_name = [](const auto& entry) { return entry.first->text == "name"; };
      require<ConfigError>(std::count_if(item->entries.begin(), item->entries.end(), is_name) <= 1, place, key,
                           ": an entry has two names");
      require<ConfigError>(given != nullptr && given->is_scalar() && is_plain_name(given->text), place, key,
                           ": each entry needs a name of letters, digits, '-' and '_' (at most 40)");
      const bool is_new = std::none_of(variants.begin(), variants.end(),
                                       [&given](const ConfigVariant& other) { return other.name == given->text; });
      require<ConfigError>(is_new, place, key, ": two entries have the name '", given->text, "'");
      ConfigVariant& variant = variants.emplace_back(ConfigVariant{given->text, *this});
      variant.input.parsed_ = std::make_shared<Parsed>(Parsed{
          file, rest->is_null() ? without(*item, "name") : laid_over(rest, without(*item, "name"), alternatives)});
    }
  }
  for (const auto& [full, text] : own) {
    const std::string name = full.substr(0, full.find('.'));
    const auto found = std::find_if(variants.begin(), variants.end(),
                                    [&name](const ConfigVariant& variant) { return variant.name == name; });
    std::string names;
    for (const ConfigVariant& variant : variants) names += concat(names.empty() ? "" : ", ", variant.name);
    require<ConfigError>(found != variants.end() && name.size() < full.size(), "--set ", prefix, base::excerpt(full),
                         ": expected --set ", prefix, "NAME.KEY=VALUE",
                         names.empty() ? ", but the file has no " + key : ", with NAME one of " + names);
    found->input.overrides_[full.substr(name.size() + 1)] = text;
  }
  return variants;
}

}  // namespace rosa::launch
