#include "report/markup.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "base/error.h"
#include "base/printable.h"

namespace rosa::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The bytes of the character that begins at text[0]; 0: no UTF-8.
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < size) return 0;
  uint32_t code = first & (0xFFu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    code = (code << 6) | (byte(i) & 0x3Fu);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
  const bool is_forbidden = code == 0xFFFE || code == 0xFFFF;  // by XML
  return code < kSmallest[size] || code > 0x10FFFF || is_surrogate || is_forbidden ? 0 : size;
}

std::string_view escaped_ascii(std::string_view character) {
  switch (character[0]) {
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '&':
      return "&amp;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    case '\t':
    case '\n':
    case '\r':
      return character;
    default:
      return static_cast<unsigned char>(character[0]) < 0x20 || character[0] == 0x7F ? kReplacement : character;
  }
}

}  // namespace

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> found;
  while (!text.empty()) {
    const std::size_t size = std::max<std::size_t>(1, character_bytes(text));
    found.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return found;
}

std::string escape(std::string_view text) {
  std::string out;
  for (const std::string_view character : characters(text)) {
    const bool is_valid = character_bytes(character) == character.size();
    if (!is_valid) {
      out += kReplacement;
    } else if (character.size() == 1) {
      out += escaped_ascii(character);
    } else {
      out += base::printable(character);  // also marks that reorder what a reader sees
    }
  }
  return out;
}

namespace {

std::string with_blanks_for_line_ends(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  return out;
}

}  // namespace

std::string markdown_text(std::string_view text) {
  std::string out;
  for (const char c : base::printable(with_blanks_for_line_ends(text))) {
    if (c == '<') {
      out += "&lt;";
      continue;
    }
    if (c == '|' || c == '*' || c == '`' || c == '\\' || c == '[') out += '\\';
    out += c;
  }
  return out;
}

std::string markdown_code(std::string_view text) {
  const std::string code = base::printable(with_blanks_for_line_ends(text));
  // The fence is longer than every run of backticks in the text.
  std::size_t longest = 0, run = 0;
  for (const char c : code) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return longest == 0 ? fence + code + fence : fence + ' ' + code + ' ' + fence;
}

std::string coordinate(double value) {
  base::require(std::isfinite(value), "a coordinate is not finite");
  char text[64];
  std::snprintf(text, sizeof(text), "%.2f", value);
  std::string out = text;
  while (out.back() == '0') out.pop_back();
  if (out.back() == '.') out.pop_back();
  return out == "-0" ? "0" : out;
}

void Markup::start(std::string_view tag, const Attributes& attributes) {
  out_ += '<';
  out_ += tag;
  for (const Attribute& attribute : attributes) {
    out_ += ' ' + attribute.name + "=\"" + escape(attribute.value) + '"';
  }
}

Markup& Markup::open(std::string_view tag, const Attributes& attributes) {
  start(tag, attributes);
  out_ += '>';
  open_.emplace_back(tag);
  return *this;
}

Markup& Markup::close() {
  base::require(!open_.empty(), "Markup::close: nothing is open");
  out_ += "</" + open_.back() + ">";
  // A line end between blocks keeps the page readable in an editor; inside a line it would be a blank.
  for (const char* block : {"p", "tr", "table", "svg", "figure", "section", "article", "div", "li", "dl", "details"}) {
    if (open_.back() == block) out_ += '\n';
  }
  open_.pop_back();
  return *this;
}

Markup& Markup::leaf(std::string_view tag, const Attributes& attributes) {
  start(tag, attributes);
  out_ += "/>";
  return *this;
}

Markup& Markup::element(std::string_view tag, const Attributes& attributes, std::string_view content) {
  return open(tag, attributes).text(content).close();
}

Markup& Markup::text(std::string_view content) {
  out_ += escape(content);
  return *this;
}

Markup& Markup::add(const Markup& part) {
  out_ += part.str();
  return *this;
}

Markup& Markup::style_sheet(std::string_view css) {
  base::require(css.find_first_of("<&") == std::string_view::npos, "a style sheet holds markup");
  open("style");
  out_ += css;
  return close();
}

const std::string& Markup::str() const {
  base::require(open_.empty(), "Markup::str: <", open_.empty() ? "" : open_.back(), "> is still open");
  return out_;
}

}  // namespace rosa::report
