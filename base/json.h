// JSON out of files that may be damaged or hostile: parsed with a bound on its depth, and taken apart field by field.
// Every error names the file and the line and column, or the field. ErrorType is what such an error is to the caller
// (DataError, CheckpointError, ...); FileError stays FileError.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"

namespace rosa::base {

// Deeper nesting is refused while the text is parsed: nlohmann copies, writes and frees values by recursion.
inline constexpr size_t kMaxJsonDepth = 64;
// Of one object of an ordered_json, which looks for a key by going through all of them.
inline constexpr size_t kMaxOrderedMembers = 10'000;

// Throws an error of the caller's kind.
using JsonThrower = void (*)(const std::string& message);
template <class ErrorType>
[[noreturn]] void throw_json_error(const std::string& message) {
  throw ErrorType(message);
}

// Typed access to one JSON object. Keys that nobody asks for are ignored. `Json` is nlohmann::json or ordered_json and
// must outlive this.
template <class Json>
class BasicJsonFields {
 public:
  // `place` is what errors begin with ("FILE" or "FILE:LINE"). Throws unless `value` is an object.
  BasicJsonFields(const Json& value, std::string place, JsonThrower thrower = throw_json_error<DataError>);

  // Nothing where the key is missing or null. Throw where the value has another type, integer() also where it is
  // outside [min, max].
  std::optional<bool> boolean(const char* key) const;
  std::optional<int64_t> integer(const char* key, int64_t min = std::numeric_limits<int64_t>::min(),
                                 int64_t max = std::numeric_limits<int64_t>::max()) const;
  std::optional<double> number(const char* key) const;
  std::optional<std::string> text(const char* key) const;
  std::optional<BasicJsonFields> object(const char* key) const;
  // Empty where the key is missing or null.
  std::vector<int64_t> integers(const char* key) const;
  std::vector<std::string> texts(const char* key) const;
  std::vector<BasicJsonFields> objects(const char* key) const;

  // The same, but throw where it is missing too.
  bool required_boolean(const char* key) const;
  int64_t required_integer(const char* key, int64_t min = std::numeric_limits<int64_t>::min(),
                           int64_t max = std::numeric_limits<int64_t>::max()) const;
  double required_number(const char* key) const;
  std::string required_text(const char* key) const;
  BasicJsonFields required_object(const char* key) const;
  std::vector<int64_t> required_integers(const char* key) const;

  bool has(const char* key) const { return find(key) != nullptr; }
  // All members, each of which must be an object.
  std::vector<std::pair<std::string, BasicJsonFields>> members() const;
  // Throws an error about a field: "PLACE: 'KEY' WHAT".
  [[noreturn]] void fail(const std::string& key, const std::string& what) const;

  const Json& value() const { return *value_; }
  const std::string& place() const { return place_; }

 private:
  const Json* find(const char* key) const;
  const Json& required(const char* key) const;
  std::string inner_place(const std::string& key) const;

  const Json* value_;
  std::string place_;
  JsonThrower thrower_;
};

using JsonFields = BasicJsonFields<nlohmann::json>;
using OrderedJsonFields = BasicJsonFields<nlohmann::ordered_json>;

template <class Json>
using UseJsonLine = std::function<void(const BasicJsonFields<Json>& fields, std::string_view line)>;

namespace internal {
template <class Json>
Json parse_json(std::string_view text, const std::string& file, int64_t first_line, JsonThrower thrower);
template <class Json>
Json read_json(const std::filesystem::path& path, int64_t max_bytes, JsonThrower thrower);
template <class Json>
void use_json_line(std::string_view line, bool has_end, const std::string& file, int64_t number,
                   const UseJsonLine<Json>& use, JsonThrower thrower);
template <class Json>
void read_json_lines(const std::filesystem::path& path, const UseJsonLine<Json>& use, JsonThrower thrower);
template <class Json>
void read_json_lines_of(std::string_view text, const std::string& file, const UseJsonLine<Json>& use,
                        JsonThrower thrower);
}  // namespace internal

// The value of a whole text. What is no JSON, is nested deeper than kMaxJsonDepth, names a key twice or holds a number
// beyond double (1e999) is an ErrorType that begins with "FILE:LINE:COLUMN: ".
template <class ErrorType = DataError, class Json = nlohmann::json>
Json parse_json(std::string_view text, const std::string& file, int64_t first_line = 1) {
  return internal::parse_json<Json>(text, file, first_line, throw_json_error<ErrorType>);
}

// The value of a whole file. Throws FileError too.
template <class ErrorType = DataError, class Json = nlohmann::json>
Json read_json(const std::filesystem::path& path, int64_t max_bytes) {
  return internal::read_json<Json>(path, max_bytes, throw_json_error<ErrorType>);
}

// Calls `use` with the object on each line, and the line itself, without reading the whole file at once. A last line
// without a line end that is no JSON was being written when its process ended: it is left out. Any other line that is
// no JSON object is an ErrorType that names file and line. Empty lines are left out. Throws FileError too.
template <class ErrorType = DataError, class Json = nlohmann::json>
void read_json_lines(const std::filesystem::path& path, const std::type_identity_t<UseJsonLine<Json>>& use) {
  internal::read_json_lines<Json>(path, use, throw_json_error<ErrorType>);
}

// The same of a file that was read: `text` is all of it, and the lines that `use` gets are views into it.
template <class ErrorType = DataError>
void read_json_lines_of(std::string_view text, const std::string& file, const UseJsonLine<nlohmann::json>& use) {
  internal::read_json_lines_of<nlohmann::json>(text, file, use, throw_json_error<ErrorType>);
}

// A text as JSON whatever its bytes are (a path, a state's text): a string where it is UTF-8, else {"bytes": "HEX"}.
nlohmann::json bytes_to_json(std::string_view bytes);
// Back again; nothing where `value` is neither.
std::optional<std::string> bytes_from_json(const nlohmann::json& value);

}  // namespace rosa::base
