#include "training/report/json_source.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "training/report/numbers.h"

namespace rosa::training::report {
namespace {

using base::concat;
using base::DataError;
using base::require;
using nlohmann::ordered_json;

constexpr int64_t kMaxFileBytes = int64_t{1} << 28;
constexpr double kLargest = 1e30;

// Why a text is no JSON, without nlohmann's own prefix.
std::string reason_of(const ordered_json::exception& error) {
  const std::string text = error.what();
  const std::size_t end = text.find("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

ordered_json parse(const std::string& text, const std::string& file, int64_t first_line) {
  try {
    return ordered_json::parse(text);
  } catch (const ordered_json::parse_error& error) {
    const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(text.size(), error.byte));
    const int64_t line = first_line + std::count(text.begin(), end, '\n');
    throw DataError(concat(file, ":", line, ": no valid JSON: ", reason_of(error)));
  }
}

}  // namespace

JsonFields::JsonFields(const ordered_json& value, std::string place) : value_(&value), place_(std::move(place)) {
  require<DataError>(value.is_object(), place_, ": expected an object {...}, got ", value.type_name());
}

const ordered_json* JsonFields::find(const char* key) const {
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

void JsonFields::fail(const char* key, const std::string& what) const {
  throw DataError(concat(place_, ": '", key, "' ", what));
}

std::optional<double> JsonFields::number(const char* key) const {
  const ordered_json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_number()) fail(key, concat("is no number but ", value->type_name()));
  const double number = value->get<double>();
  return std::abs(number) <= kLargest ? std::optional(number) : std::nullopt;
}

std::optional<std::string> JsonFields::text(const char* key) const {
  const ordered_json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string()) fail(key, concat("is no text but ", value->type_name()));
  return value->get<std::string>();
}

std::vector<JsonFields> JsonFields::objects(const char* key) const {
  const ordered_json* value = find(key);
  std::vector<JsonFields> found;
  if (value == nullptr) return found;
  if (!value->is_array()) fail(key, concat("is no list but ", value->type_name()));
  for (const ordered_json& element : *value) {
    found.emplace_back(element, concat(place_, ": '", key, "' ", found.size() + 1));
  }
  return found;
}

std::optional<JsonFields> JsonFields::object(const char* key) const {
  const ordered_json* value = find(key);
  if (value == nullptr) return {};
  return JsonFields(*value, concat(place_, ": '", key, "'"));
}

std::vector<int64_t> JsonFields::integers(const char* key) const {
  const ordered_json* value = find(key);
  std::vector<int64_t> found;
  if (value == nullptr) return found;
  if (!value->is_array()) fail(key, concat("is no list but ", value->type_name()));
  for (const ordered_json& element : *value) {
    if (!element.is_number_integer()) fail(key, "holds something that is no integer");
    found.push_back(element.get<int64_t>());
  }
  return found;
}

std::vector<std::pair<std::string, std::string>> JsonFields::plain_values(const char* key) const {
  const ordered_json* value = find(key);
  std::vector<std::pair<std::string, std::string>> found;
  if (value == nullptr) return found;
  if (!value->is_object()) fail(key, concat("is no object but ", value->type_name()));
  for (const auto& [name, inner] : value->items()) {
    if (inner.is_string()) found.emplace_back(name, inner.get<std::string>());
    if (inner.is_number() || inner.is_boolean()) found.emplace_back(name, inner.dump());
  }
  return found;
}

double JsonFields::required_number(const char* key) const {
  const std::optional<double> value = number(key);
  if (!value) fail(key, "is missing");
  return *value;
}

std::string JsonFields::required_text(const char* key) const {
  const std::optional<std::string> value = text(key);
  if (!value) fail(key, "is missing");
  return *value;
}

void read_json_file(const std::filesystem::path& path, const std::function<void(const JsonFields&)>& use) {
  const ordered_json value = parse(base::read_file(path, kMaxFileBytes), path.string(), 1);
  use(JsonFields(value, path.string()));
}

void read_json_lines(const std::filesystem::path& path, const std::function<void(const JsonFields&)>& use) {
  const std::string text = base::read_file(path, kMaxFileBytes);
  int64_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (end == text.size() && !ordered_json::accept(line)) return;
    const ordered_json value = parse(line, path.string(), line_number);
    use(JsonFields(value, concat(path.string(), ":", line_number)));
  }
}

}  // namespace rosa::training::report
