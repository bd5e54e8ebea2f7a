#include "launch/yaml_scalar.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/printable.h"

namespace rosa::launch {
namespace {

constexpr std::size_t kMaxShownBytes = 60;

std::string shown(std::string_view text) { return "'" + base::excerpt(text, kMaxShownBytes) + "'"; }

bool is_digit(char character) { return character >= '0' && character <= '9'; }

std::string_view without_sign(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  return text;
}

// Digits without a leading zero, which YAML 1.1 would read as octal.
bool take_whole_part(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && is_digit(text[length])) ++length;
  if (length == 0 || (length > 1 && text.front() == '0')) return false;
  text.remove_prefix(length);
  return true;
}

bool take_digits(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && is_digit(text[length])) ++length;
  text.remove_prefix(length);
  return length > 0;
}

bool is_integer_text(std::string_view text) {
  text = without_sign(text);
  return take_whole_part(text) && text.empty();
}

bool is_number_text(std::string_view text) {
  text = without_sign(text);
  if (!take_whole_part(text)) return false;
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    if (!take_digits(text)) return false;
  }
  if (!text.empty() && (text.front() == 'e' || text.front() == 'E')) {
    text.remove_prefix(1);
    text = without_sign(text);
    if (!take_digits(text)) return false;
  }
  return text.empty();
}

template <class Number>
std::from_chars_result read_number(std::string_view text, Number& value) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);  // from_chars knows no plus sign
  return std::from_chars(text.data(), text.data() + text.size(), value);
}

// What the writer of a text that isn't a number may have had in mind.
std::string number_hint(std::string_view text, bool whole) {
  const std::string_view digits = without_sign(text);
  if (digits.find('_') != std::string_view::npos) return " (write it without underscores)";
  if (digits.size() > 1 && digits.front() == '0' && is_digit(digits[1])) return " (write it without the leading zero)";
  if (digits.size() > 1 && digits.front() == '.' && is_digit(digits[1])) return " (write a digit before the point)";
  if (!digits.empty() && digits.back() == '.') return " (write a digit after the point)";
  if (whole && is_number_text(text)) return " (write it out as an integer)";
  return "";
}

constexpr std::string_view kAllWord = "all";

template <class Number>
std::string range_words(base::Range<Number> range, const std::string& min_text, const std::string& max_text) {
  const bool has_min = range.min != std::numeric_limits<Number>::lowest();
  const bool has_max = range.max != std::numeric_limits<Number>::max();
  if (has_min && has_max) return " from " + min_text + " to " + max_text;
  if (has_min) return " of at least " + min_text;
  if (has_max) return " of at most " + max_text;
  return "";
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char character) { return static_cast<char>(std::tolower(character)); });
  return lower;
}

}  // namespace

std::string parse_bool(std::string_view text, bool& value) {
  if (text == "true" || text == "false") {
    value = text == "true";
    return "";
  }
  const std::string lower = lower_case(text);
  const char* hint = "";
  if (lower == "yes" || lower == "on" || lower == "y" || lower == "true") hint = " (write true)";
  if (lower == "no" || lower == "off" || lower == "n" || lower == "false") hint = " (write false)";
  return "expected true or false, got " + shown(text) + hint;
}

std::string parse_integer(std::string_view text, base::Range<int64_t> range, int64_t& value) {
  const bool may_be_all = range.min == base::kAll;
  if (may_be_all && text == kAllWord) {
    value = base::kAll;
    return "";
  }
  if (!is_integer_text(text)) {
    return "expected " + expected_integer(range) + ", got " + shown(text) + number_hint(text, true);
  }
  int64_t number = 0;
  const bool fits = read_number(text, number).ec == std::errc();
  if (!fits || number < (may_be_all ? 1 : range.min) || number > range.max) {
    return "expected " + expected_integer(range) + ", got " + shown(text) + (fits ? "" : " (more than 64 bits)");
  }
  value = number;
  return "";
}

std::string parse_number(std::string_view text, base::Range<double> range, double& value) {
  if (!is_number_text(text)) {
    return "expected " + expected_number(range) + ", got " + shown(text) + number_hint(text, false);
  }
  double number = 0;
  const bool fits = read_number(text, number).ec == std::errc() && std::isfinite(number);
  if (!fits || number < range.min || number > range.max) {
    return "expected " + expected_number(range) + ", got " + shown(text) + (fits ? "" : " (beyond double precision)");
  }
  value = number;
  return "";
}

std::string expected_integer(base::Range<int64_t> range) {
  if (range.min == base::kAll) return std::string(kAllWord) + " or " + expected_integer({1, range.max});
  return "an integer" + range_words(range, std::to_string(range.min), std::to_string(range.max));
}

std::string expected_number(base::Range<double> range) {
  return "a number" + range_words(range, number_text(range.min), number_text(range.max));
}

std::string expected_choice(const std::vector<std::string>& choices) {
  std::string words = "one of ";
  for (std::size_t i = 0; i < choices.size(); ++i) words += (i == 0 ? "" : ", ") + yaml_text(choices[i]);
  return words;
}

bool is_infinite_text(std::string_view text) {
  std::string_view digits = without_sign(text);
  if (!digits.empty() && digits.front() == '.') digits.remove_prefix(1);
  const std::string lower = lower_case(digits);
  return lower == "inf" || lower == "nan" || lower == "infinity";
}

std::string integer_text(int64_t value, base::Range<int64_t> range) {
  return range.min == base::kAll && value == base::kAll ? std::string(kAllWord) : std::to_string(value);
}

std::string number_text(double value) {
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), result.ptr};
}

std::string yaml_text(std::string_view text) {
  const auto is_plain = [](unsigned char character) {
    return std::isalnum(character) != 0 ||
           std::string_view("_-./+@%").find(static_cast<char>(character)) != std::string_view::npos;
  };
  // A first letter, '/' or '.' keeps it from looking like a number, a list or one of YAML's signs.
  const bool first_is_safe = !text.empty() && (std::isalpha(static_cast<unsigned char>(text.front())) != 0 ||
                                               text.front() == '/' || text.front() == '_');
  const std::string lower = lower_case(text);
  if (first_is_safe && lower != "null" && std::all_of(text.begin(), text.end(), is_plain)) return std::string(text);

  std::string quoted = "\"";
  for (const char character : text) {
    const auto code = static_cast<unsigned char>(character);
    if (character == '"' || character == '\\') {
      quoted += '\\';
      quoted += character;
    } else if (character == '\n') {
      quoted += "\\n";
    } else if (character == '\t') {
      quoted += "\\t";
    } else if (code < 0x20 || code == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\x%02x", static_cast<unsigned>(code));
      quoted += escape.data();
    } else {
      quoted += character;
    }
  }
  return quoted + "\"";
}

}  // namespace rosa::launch
