#include "base/json.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <set>
#include <type_traits>

#include "base/file.h"
#include "base/printable.h"

namespace rosa::base {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLineBytes = size_t{64} << 20;
constexpr size_t kChunkBytes = size_t{1} << 20;

// Goes through a text and keeps how far it has come, which nlohmann tells only where the syntax is wrong.
struct Cursor {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  size_t* num_read;

  reference operator*() const { return *at; }
  Cursor& operator++() {
    ++at;
    ++*num_read;
    return *this;
  }
  bool operator==(const Cursor& other) const { return at == other.at; }
  bool operator!=(const Cursor& other) const { return at != other.at; }
};

// nlohmann's reason without its own prefix ("[json.exception.parse_error.101] parse error at line 1, column 2: ").
std::string reason_of(const nlohmann::json::exception& error) {
  std::string_view text = error.what();
  if (const size_t end = text.find("] "); end != text.npos) text.remove_prefix(end + 2);
  if (text.starts_with("parse error at line")) text.remove_prefix(std::min(text.find(": ") + 2, text.size()));
  return excerpt(text, 300);
}

// Finds what must not be in a text before any value is made of it.
class Checker : public nlohmann::json_sax<nlohmann::json> {
 public:
  Checker(std::string_view text, size_t max_members) : text_(text), max_members_(max_members) {}

  // True where the text may be parsed.
  bool check() {
    const Cursor begin{text_.data(), &num_read_};
    const Cursor end{text_.data() + text_.size(), &num_read_};
    return nlohmann::json::sax_parse(begin, end, this);
  }
  const std::string& reason() const { return reason_; }
  // The number of bytes up to and with the one where it went wrong.
  size_t position() const { return std::min(position_, text_.size()); }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return enter(); }
  bool key(string_t& name) override {
    std::set<std::string>& names = open_.back();
    if (names.size() >= max_members_) return refuse(concat("an object has more than ", max_members_, " members"));
    return names.insert(name).second || refuse(concat("the key '", excerpt(name), "' is there twice"));
  }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_array() override { return leave(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    reason_ = "no valid JSON: " + reason_of(error);
    position_ = position;
    return false;
  }

 private:
  bool enter() {
    open_.emplace_back();
    return open_.size() <= kMaxJsonDepth || refuse(concat("nested deeper than ", kMaxJsonDepth, " levels"));
  }
  bool leave() {
    open_.pop_back();
    return true;
  }
  bool refuse(std::string reason) {
    reason_ = std::move(reason);
    position_ = num_read_;
    return false;
  }

  const std::string_view text_;
  const size_t max_members_;
  size_t num_read_ = 0, position_ = 0;
  std::vector<std::set<std::string>> open_;  // the keys so far of every open object; none for a list
  std::string reason_;
};

template <class Json>
constexpr size_t kMaxMembers = std::is_same_v<Json, nlohmann::ordered_json> ? kMaxOrderedMembers
                                                                            : std::numeric_limits<size_t>::max();

// Why a text can't be parsed, with line and column; empty: it can.
template <class Json>
std::string fault_of(std::string_view text, const std::string& file, int64_t first_line) {
  Checker checker(text, kMaxMembers<Json>);
  if (checker.check()) return "";
  const std::string_view before = text.substr(0, std::max<size_t>(checker.position(), 1) - 1);
  const size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
  return concat(file, ":", first_line + std::count(before.begin(), before.end(), '\n'), ":",
                before.size() - line_begin + 1, ": ", checker.reason());
}

// Calls `use(line, has_end)` for every line of a file.
void for_each_line(const fs::path& path, JsonThrower thrower, const std::function<void(std::string_view, bool)>& use) {
  const FileDescriptor descriptor = open_regular_file(path, O_RDONLY);
  std::string pending, chunk(kChunkBytes, '\0');
  while (true) {
    const ssize_t count = ::read(descriptor.get(), chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error("read", path, errno);
    if (count == 0) break;
    const size_t searched = pending.size();
    pending.append(chunk, 0, static_cast<size_t>(count));
    size_t begin = 0;
    for (size_t end = pending.find('\n', searched); end != pending.npos; end = pending.find('\n', begin)) {
      use(std::string_view(pending).substr(begin, end - begin), true);
      begin = end + 1;
    }
    pending.erase(0, begin);
    if (pending.size() > kMaxLineBytes) {
      thrower(concat("'", path.string(), "' has a line of more than ", kMaxLineBytes, " bytes: is it the right file?"));
    }
  }
  if (!pending.empty()) use(pending, false);
}

}  // namespace

template <class Json>
BasicJsonFields<Json>::BasicJsonFields(const Json& value, std::string place, JsonThrower thrower)
    : value_(&value), place_(std::move(place)), thrower_(thrower) {
  if (!value.is_object()) thrower_(concat(place_, ": expected an object {...}, got ", value.type_name()));
}

template <class Json>
const Json* BasicJsonFields<Json>::find(const char* key) const {
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

template <class Json>
const Json& BasicJsonFields<Json>::required(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) fail(key, "is missing");
  return *value;
}

template <class Json>
void BasicJsonFields<Json>::fail(const std::string& key, const std::string& what) const {
  thrower_(concat(place_, ": '", excerpt(key), "' ", what));
  throw DataError(concat(place_, ": '", excerpt(key), "' ", what));  // no thrower returns
}

template <class Json>
std::string BasicJsonFields<Json>::inner_place(const std::string& key) const {
  return concat(place_, ": '", excerpt(key), "'");
}

template <class Json>
std::optional<bool> BasicJsonFields<Json>::boolean(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_boolean()) fail(key, concat("is neither true nor false but ", value->type_name()));
  return value->template get<bool>();
}

template <class Json>
std::optional<int64_t> BasicJsonFields<Json>::integer(const char* key, int64_t min, int64_t max) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  const auto refuse = [&](const std::string& what) { fail(key, concat("is ", what, ", expected a whole number")); };
  if (!value->is_number()) refuse(value->type_name());
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool fits =
      value->is_number_unsigned() ? value->template get<uint64_t>() <= kLargest : value->is_number_integer();
  if (!fits) refuse(value->dump());
  const int64_t number = value->template get<int64_t>();
  if (number < min || number > max) {
    fail(key, max == std::numeric_limits<int64_t>::max() ? concat("is ", number, ", expected at least ", min)
                                                         : concat("is ", number, ", expected ", min, " to ", max));
  }
  return number;
}

template <class Json>
std::optional<double> BasicJsonFields<Json>::number(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_number()) fail(key, concat("is no number but ", value->type_name()));
  return value->template get<double>();
}

template <class Json>
std::optional<std::string> BasicJsonFields<Json>::text(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string()) fail(key, concat("is no text but ", value->type_name()));
  return value->template get<std::string>();
}

template <class Json>
std::optional<BasicJsonFields<Json>> BasicJsonFields<Json>::object(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  return BasicJsonFields(*value, inner_place(key), thrower_);
}

template <class Json>
std::vector<int64_t> BasicJsonFields<Json>::integers(const char* key) const {
  const Json* value = find(key);
  std::vector<int64_t> found;
  if (value == nullptr) return found;
  if (!value->is_array()) fail(key, concat("is no list but ", value->type_name()));
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  for (const Json& element : *value) {
    const bool fits =
        element.is_number_unsigned() ? element.template get<uint64_t>() <= kLargest : element.is_number_integer();
    if (!fits) fail(key, "holds something that is no whole number below 2^63");
    found.push_back(element.template get<int64_t>());
  }
  return found;
}

template <class Json>
std::vector<std::string> BasicJsonFields<Json>::texts(const char* key) const {
  const Json* value = find(key);
  std::vector<std::string> found;
  if (value == nullptr) return found;
  if (!value->is_array()) fail(key, concat("is no list but ", value->type_name()));
  for (const Json& element : *value) {
    if (!element.is_string()) fail(key, "holds something that is no text");
    found.push_back(element.template get<std::string>());
  }
  return found;
}

template <class Json>
std::vector<BasicJsonFields<Json>> BasicJsonFields<Json>::objects(const char* key) const {
  const Json* value = find(key);
  std::vector<BasicJsonFields> found;
  if (value == nullptr) return found;
  if (!value->is_array()) fail(key, concat("is no list but ", value->type_name()));
  for (const Json& element : *value) {
    found.emplace_back(element, concat(inner_place(key), " ", found.size() + 1), thrower_);
  }
  return found;
}

template <class Json>
bool BasicJsonFields<Json>::required_boolean(const char* key) const {
  required(key);
  return *boolean(key);
}

template <class Json>
int64_t BasicJsonFields<Json>::required_integer(const char* key, int64_t min, int64_t max) const {
  required(key);
  return *integer(key, min, max);
}

template <class Json>
double BasicJsonFields<Json>::required_number(const char* key) const {
  required(key);
  return *number(key);
}

template <class Json>
std::string BasicJsonFields<Json>::required_text(const char* key) const {
  required(key);
  return *text(key);
}

template <class Json>
BasicJsonFields<Json> BasicJsonFields<Json>::required_object(const char* key) const {
  return BasicJsonFields(required(key), inner_place(key), thrower_);
}

template <class Json>
std::vector<int64_t> BasicJsonFields<Json>::required_integers(const char* key) const {
  required(key);
  return integers(key);
}

template <class Json>
std::vector<std::pair<std::string, BasicJsonFields<Json>>> BasicJsonFields<Json>::members() const {
  std::vector<std::pair<std::string, BasicJsonFields>> found;
  for (const auto& [name, inner] : value_->items()) {
    found.emplace_back(name, BasicJsonFields(inner, inner_place(name), thrower_));
  }
  return found;
}

template <class Json>
Json internal::parse_json(std::string_view text, const std::string& file, int64_t first_line, JsonThrower thrower) {
  const std::string fault = fault_of<Json>(text, file, first_line);
  if (!fault.empty()) thrower(fault);
  return Json::parse(text);
}

template <class Json>
Json internal::read_json(const fs::path& path, int64_t max_bytes, JsonThrower thrower) {
  std::string text;
  try {
    text = read_file(path, max_bytes);
  } catch (const DataError& error) {
    thrower(error.what());
  }
  return parse_json<Json>(text, path.string(), 1, thrower);
}

template <class Json>
void internal::use_json_line(std::string_view line, bool has_end, const std::string& file, int64_t number,
                             const UseJsonLine<Json>& use, JsonThrower thrower) {
  if (line.find_first_not_of(" \t\r") == line.npos) return;
  if (!has_end && !fault_of<Json>(line, "", 1).empty()) return;
  const Json value = parse_json<Json>(line, file, number, thrower);
  use(BasicJsonFields<Json>(value, concat(file, ":", number), thrower), line);
}

template <class Json>
void internal::read_json_lines(const fs::path& path, const UseJsonLine<Json>& use, JsonThrower thrower) {
  int64_t number = 0;
  for_each_line(path, thrower, [&](std::string_view line, bool has_end) {
    use_json_line(line, has_end, path.string(), ++number, use, thrower);
  });
}

template <class Json>
void internal::read_json_lines_of(std::string_view text, const std::string& file, const UseJsonLine<Json>& use,
                                  JsonThrower thrower) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    use_json_line(text.substr(0, end), end != text.npos, file, number, use, thrower);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
}

nlohmann::json bytes_to_json(std::string_view bytes) {
  if (is_utf8(bytes)) return std::string(bytes);
  std::string hex;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    hex += "0123456789abcdef"[value >> 4];
    hex += "0123456789abcdef"[value & 15];
  }
  return {{"bytes", hex}};
}

std::optional<std::string> bytes_from_json(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object() || !value.contains("bytes") || !value["bytes"].is_string()) return {};
  const std::string hex = value["bytes"].get<std::string>();
  if (hex.size() % 2 != 0 || hex.find_first_not_of("0123456789abcdef") != hex.npos) return {};
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

template void internal::read_json_lines_of(std::string_view, const std::string&, const UseJsonLine<nlohmann::json>&,
                                           JsonThrower);
template class BasicJsonFields<nlohmann::json>;
template class BasicJsonFields<nlohmann::ordered_json>;
template nlohmann::json internal::parse_json(std::string_view, const std::string&, int64_t, JsonThrower);
template nlohmann::ordered_json internal::parse_json(std::string_view, const std::string&, int64_t, JsonThrower);
template nlohmann::json internal::read_json(const fs::path&, int64_t, JsonThrower);
template nlohmann::ordered_json internal::read_json(const fs::path&, int64_t, JsonThrower);
template void internal::read_json_lines(const fs::path&, const UseJsonLine<nlohmann::json>&, JsonThrower);
template void internal::read_json_lines(const fs::path&, const UseJsonLine<nlohmann::ordered_json>&, JsonThrower);

}  // namespace rosa::base
