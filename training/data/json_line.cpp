#include "training/data/json_line.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "text/utf8.h"

namespace rosa::training {
namespace {

using base::DataError;
using nlohmann::json;

// Goes through a line. Values are dropped as they come, so that neither depth nor size of what nobody asked for costs
// memory.
class LineReader : public nlohmann::json_sax<json> {
 public:
  explicit LineReader(std::string_view line) : line_(line) {}

  void read() {
    if (json::sax_parse(line_.begin(), line_.end(), this)) return;
    throw DataError(reason_);
  }

  bool null() override { return on_scalar(nullptr); }
  bool boolean(bool) override { return on_scalar(nullptr); }
  bool number_integer(number_integer_t) override { return on_number(std::nullopt); }
  bool number_unsigned(number_unsigned_t value) override { return on_number(value); }
  bool number_float(number_float_t, const string_t&) override { return on_number(std::nullopt); }
  bool string(string_t& value) override { return on_scalar(&value); }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return on_open(true); }
  bool end_object() override { return on_close(true); }
  bool start_array(std::size_t) override { return on_open(false); }
  bool end_array() override { return on_close(false); }
  bool key(string_t& name) override { return on_key(name); }
  bool parse_error(std::size_t position, const std::string&, const json::exception& error) override {
    reason_ = base::concat("column ", std::clamp<size_t>(position, 1, line_.size() + 1),
                           ": this is no JSON: ", words_for(error, position));
    return false;
  }

 protected:
  virtual bool on_scalar(std::string* /*text*/) { return true; }
  virtual bool on_number(std::optional<uint64_t> /*value*/) { return on_scalar(nullptr); }
  virtual bool on_open(bool /*is_object*/) { return true; }
  virtual bool on_close(bool /*is_object*/) { return true; }
  virtual bool on_key(const std::string& /*name*/) { return true; }
  bool refuse(std::string reason) {
    reason_ = std::move(reason);
    return false;
  }

 private:
  // The parser's own words are about its insides.
  std::string words_for(const json::exception& error, size_t position) const {
    const std::string_view what = error.what();
    if (what.find("surrogate") != what.npos) return "half a surrogate pair in a string";
    if (what.find("control character") != what.npos) return "a control character in a string, which JSON escapes";
    if (what.find("ill-formed UTF-8") != what.npos) return "a string is no UTF-8";
    if (what.find("out_of_range") != what.npos) return "a number that is too large";
    if (position > line_.size()) return "the line ends too early";
    return base::concat("unexpected '", base::printable(line_.substr(std::max<size_t>(position, 1) - 1, 1)), "'");
  }

  std::string_view line_;
  std::string reason_;
};

// Takes the texts of the wanted fields.
class TextReader : public LineReader {
 public:
  TextReader(std::string_view line, const std::vector<std::string>& fields)
      : LineReader(line), fields_(fields), found_(fields.size()) {}

  std::string text() {
    read();
    for (std::optional<std::string>& text : found_) {
      if (text) return std::move(*text);
    }
    std::string names, keys;
    for (const std::string& field : fields_) names += base::concat(names.empty() ? "" : " or ", "'", field, "'");
    for (const std::string& key : keys_) keys += base::concat(keys.empty() ? "" : ", ", key);
    throw DataError(base::concat("column 1: no field ", names, ", only ", keys.empty() ? "none" : keys,
                                 "; --text-field names the one that holds the text"));
  }

 protected:
  bool on_scalar(std::string* text) override {
    if (depth_ == 0) return refuse("column 1: expected an object with a text in it");
    if (!wanted_) return true;
    found_[*wanted_] = text != nullptr ? std::move(*text) : std::string();
    wanted_.reset();
    return true;
  }
  bool on_number(std::optional<uint64_t>) override {
    return wanted_ ? refuse(base::concat("column 1: field '", fields_[*wanted_], "' is no text")) : on_scalar(nullptr);
  }
  bool on_open(bool is_object) override {
    if (depth_ == 0 && !is_object) return refuse("column 1: expected an object with a text in it");
    if (wanted_) return refuse(base::concat("column 1: field '", fields_[*wanted_], "' is no text"));
    ++depth_;
    if (!is_object) ++num_arrays_;
    if (num_arrays_ == 0 && depth_ > 1) path_ends_.push_back(path_.size());
    return true;
  }
  bool on_close(bool is_object) override {
    if (num_arrays_ == 0 && depth_ > 1) {
      path_.resize(path_ends_.back());
      path_ends_.pop_back();
    }
    if (!is_object) --num_arrays_;
    --depth_;
    return true;
  }
  bool on_key(const std::string& name) override {
    if (num_arrays_ > 0 || depth_ > kMaxDepth) return true;
    constexpr size_t kMaxKeys = 12;
    if (depth_ == 1 && keys_.size() < kMaxKeys) keys_.push_back(base::excerpt(name, 40));
    path_.resize(path_ends_.empty() ? 0 : path_ends_.back());
    if (!path_.empty()) path_ += '.';
    path_ += name;
    const auto found = std::find(fields_.begin(), fields_.end(), path_);
    if (found != fields_.end()) wanted_ = static_cast<size_t>(found - fields_.begin());
    return true;
  }

 private:
  static constexpr int64_t kMaxDepth = 64;

  const std::vector<std::string>& fields_;
  std::vector<std::optional<std::string>> found_;
  std::optional<size_t> wanted_;
  std::vector<std::string> keys_;
  std::string path_;               // of the key that was read last, outside lists
  std::vector<size_t> path_ends_;  // of the open objects' own paths
  int64_t depth_ = 0, num_arrays_ = 0;
};

constexpr const char* kExpectedIds =
    "column 1: expected a JSON array of token ids, or an object that has one as \"input_ids\"";

class IdsReader : public LineReader {
 public:
  using LineReader::LineReader;

  std::vector<int64_t> ids() {
    read();
    base::require<DataError>(has_ids_, kExpectedIds);
    return std::move(ids_);
  }

 protected:
  bool on_scalar(std::string*) override {
    if (depth_ == 0 || (is_wanted_ && !is_in_ids_)) return refuse(kExpectedIds);
    return !is_in_ids_ || refuse(base::concat("entry ", ids_.size(), " is no token id"));
  }
  bool on_number(std::optional<uint64_t> value) override {
    if (!is_in_ids_) return on_scalar(nullptr);
    if (!value || *value >= uint64_t{1} << 32) return refuse(base::concat("entry ", ids_.size(), " is no token id"));
    ids_.push_back(static_cast<int64_t>(*value));
    return true;
  }
  bool on_open(bool is_object) override {
    ++depth_;
    if (is_in_ids_) return refuse("the array of token ids is nested");
    if (depth_ == 1 && is_object) return true;
    if (depth_ == 1 || is_wanted_) {
      if (is_object) return refuse(kExpectedIds);
      is_in_ids_ = has_ids_ = true;
      ids_.clear();
    }
    return true;
  }
  bool on_close(bool) override {
    --depth_;
    is_in_ids_ = is_wanted_ = false;
    return true;
  }
  bool on_key(const std::string& name) override {
    is_wanted_ = depth_ == 1 && name == "input_ids";
    return true;
  }

 private:
  std::vector<int64_t> ids_;
  int64_t depth_ = 0;
  bool is_wanted_ = false, is_in_ids_ = false, has_ids_ = false;
};

// Finds what must not be in a line before values are made of it.
class DepthChecker : public LineReader {
 public:
  using LineReader::LineReader;

 protected:
  bool on_open(bool) override {
    const bool good = ++depth_ <= static_cast<int64_t>(base::kMaxJsonDepth);
    return good || refuse(base::concat("column 1: nested deeper than ", base::kMaxJsonDepth, " levels"));
  }
  bool on_close(bool) override {
    --depth_;
    return true;
  }

 private:
  int64_t depth_ = 0;
};

bool is_something(const json& value) {
  return !value.is_null() && value != json::array() && value != json::object() && value != "";
}

void refuse_meaningful(const json& object, const std::string& place) {
  for (const char* key : kRefusedChatKeys) {
    const auto found = object.find(key);
    base::require<DataError>(found == object.end() || !is_something(*found), place, "has '", key,
                             "', which is not supported: leave such conversations out, or write it into the content");
  }
}

std::string content_of(const json& message, const std::string& place) {
  const auto content = message.find("content");
  base::require<DataError>(content != message.end() && !content->is_null(), place, "has no 'content'");
  if (content->is_string()) return content->get<std::string>();
  base::require<DataError>(content->is_array(), place, "has a 'content' that is no text");
  std::string text;
  for (const json& part : *content) {
    const std::string type = part.is_object() && part.contains("type") && part["type"].is_string()
                                 ? part["type"].get<std::string>()
                                 : "without a type";
    base::require<DataError>(type == "text" && part.contains("text") && part["text"].is_string(), place, "has a part '",
                             base::printable(type), "', but only texts are supported");
    text += part["text"].get<std::string>();
  }
  return text;
}

ChatMessage message_of(const json& message, const std::string& place) {
  base::require<DataError>(message.is_object(), place, "is no object");
  refuse_meaningful(message, place);
  const auto role = message.find("role");
  base::require<DataError>(role != message.end() && role->is_string(), place, "has no 'role'");
  ChatMessage result{.role = role->get<std::string>(), .content = content_of(message, place)};
  base::require<DataError>(result.role == "system" || result.role == "user" || result.role == "assistant", place,
                           "has the role '", base::excerpt(result.role, 40),
                           "', but only system, user and assistant are supported");
  result.counts = result.role == "assistant";
  // As others mark an answer that must not be learnt.
  if (const auto weight = message.find("weight"); weight != message.end()) {
    base::require<DataError>(*weight == 0 || *weight == 1, place, "has a 'weight' that is neither 0 nor 1");
    result.counts = result.counts && *weight == 1;
  }
  return result;
}

// The four digits behind "\u" at `at`, or -1.
int64_t escaped_unit(std::string_view text, size_t at) {
  if (text.size() < at + 6 || text[at] != '\\' || text[at + 1] != 'u') return -1;
  int64_t value = 0;
  for (const char digit : text.substr(at + 2, 4)) {
    const int64_t part = digit >= '0' && digit <= '9'   ? digit - '0'
                         : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                         : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                        : -1;
    if (part < 0) return -1;
    value = value * 16 + part;
  }
  return value;
}

int64_t replace_lone_surrogates(std::string& text) {
  int64_t count = 0;
  for (size_t at = text.find('\\'); at != text.npos && at + 1 < text.size(); at = text.find('\\', at)) {
    const int64_t unit = escaped_unit(text, at);
    if (unit >= 0xd800 && unit < 0xdc00) {
      const int64_t low = escaped_unit(text, at + 6);
      if (low >= 0xdc00 && low < 0xe000) {
        at += 12;
        continue;
      }
    }
    if (unit >= 0xd800 && unit < 0xe000) {
      text.replace(at, 6, "\\ufffd");
      ++count;
    }
    at += 2;  // an escape's own backslash is none that begins another
  }
  return count;
}

}  // namespace

int64_t replace_invalid(std::string& text) {
  int64_t count = 0;
  if (!base::is_utf8(text)) {
    std::string replaced;
    count = static_cast<int64_t>(text::append_as_utf8(text, replaced));
    text = std::move(replaced);
  }
  if (text.find("\\ud") != text.npos || text.find("\\uD") != text.npos) count += replace_lone_surrogates(text);
  return count;
}

std::string text_of_line(std::string_view line, const std::vector<std::string>& fields) {
  return TextReader(line, fields).text();
}

std::vector<int64_t> ids_of_line(std::string_view line) { return IdsReader(line).ids(); }

std::vector<ChatMessage> messages_of_line(std::string_view line) {
  DepthChecker(line).read();
  const json conversation = json::parse(line.begin(), line.end());
  base::require<DataError>(conversation.is_object() && conversation.contains("messages") &&
                               conversation["messages"].is_array() && !conversation["messages"].empty(),
                           "column 1: expected {\"messages\": [{\"role\": ..., \"content\": ...}, ...]}");
  refuse_meaningful(conversation, "the conversation ");
  std::vector<ChatMessage> messages;
  for (const json& message : conversation["messages"]) {
    messages.push_back(message_of(message, base::concat("message ", messages.size() + 1, " ")));
  }
  return messages;
}

bool looks_like_text_line(std::string_view line, const std::vector<std::string>& fields) {
  const size_t start = line.find_first_not_of(" \t\r\n");
  if (start == line.npos || line[start] != '{') return false;
  try {
    text_of_line(line, fields);
    return true;
  } catch (const DataError&) {
    return false;
  }
}

bool looks_like_ids(std::string_view text) {
  constexpr size_t kLookedAt = 256;
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start == text.npos) return false;
  const std::string_view line = text.substr(start, text.find('\n', start) - start);
  if (line.front() == '{') return line.find("\"input_ids\"") != line.npos;
  const std::string_view head = line.substr(0, kLookedAt);
  return line.front() == '[' && head.find_first_of("0123456789") != head.npos &&
         head.find_first_not_of("[]0123456789, \t\r") == head.npos;
}

}  // namespace rosa::training
