// JsonFields: typed access to one JSON object of a file whose place (file, line) every error names.
// Keys that nobody asks for are ignored. Numbers that JSON can't hold are written as null, and read as missing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace rosa::training::report {

class JsonFields {
 public:
  // `place` is what errors begin with. Throws DataError unless `value` is an object.
  JsonFields(const nlohmann::ordered_json& value, std::string place);

  // Missing, null, or beyond 1e30 in size: nothing. Throw DataError where the value has another type.
  std::optional<double> number(const char* key) const;
  std::optional<std::string> text(const char* key) const;
  // Nothing too where the key is missing or null; elements are objects.
  std::vector<JsonFields> objects(const char* key) const;
  std::optional<JsonFields> object(const char* key) const;
  std::vector<int64_t> integers(const char* key) const;
  // Name and value of each number, string or boolean of an object, in the order of the file.
  std::vector<std::pair<std::string, std::string>> plain_values(const char* key) const;

  // The same, but throw DataError where it is missing.
  double required_number(const char* key) const;
  std::string required_text(const char* key) const;

 private:
  const nlohmann::ordered_json* find(const char* key) const;
  [[noreturn]] void fail(const char* key, const std::string& what) const;

  const nlohmann::ordered_json* value_;
  std::string place_;
};

// Calls `use` with the object that is the whole of a file. Throws FileError or DataError ("FILE:LINE: ...").
void read_json_file(const std::filesystem::path& path, const std::function<void(const JsonFields&)>& use);

// Calls `use` for the object on each line. A last line without a line end that is no JSON was being written when its
// process ended: it is left out. Any other line that is no JSON object is a DataError.
void read_json_lines(const std::filesystem::path& path, const std::function<void(const JsonFields&)>& use);

}  // namespace rosa::training::report
