#include "base/printable.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace rosa::base {
namespace {

struct Character {
  uint32_t code = 0;
  size_t num_bytes = 0;  // 0: the text does not begin with a character of UTF-8
};

// The bytes that a character takes whose first byte is this one; 0: none begins so.
size_t length_by_first_byte(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  if (first >= 0xf0 && first < 0xf5) return 4;
  return 0;
}

Character first_character(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const size_t length = length_by_first_byte(first);
  if (length == 1) return {first, 1};
  if (length == 0 || text.size() < length) return {};
  uint32_t code = first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return {};
    code = code << 6 | (next & 0x3f);
  }
  constexpr std::array<uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = code >= 0xd800 && code < 0xe000;
  if (code < kSmallest[length] || code > 0x10ffff || is_surrogate) return {};
  return {code, length};
}

// Controls (also those of C1), ends of lines and paragraphs, and marks that reorder, join or hide.
bool is_printable(uint32_t code) {
  constexpr std::pair<uint32_t, uint32_t> kHidden[] = {
      {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},   {0x180e, 0x180e},  {0x200b, 0x200f},
      {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff}};
  return std::none_of(std::begin(kHidden), std::end(kHidden),
                      [code](const auto& range) { return code >= range.first && code <= range.second; });
}

std::string escaped(const char* format, unsigned value) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string escaped_code(uint32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\r') return "\\r";
  if (code == '\t') return "\\t";
  if (code < 0x80) return escaped("\\x%02x", code);
  return escaped(code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
}

void append_printable(std::string& out, std::string_view text, bool keep_lines) {
  while (!text.empty()) {
    const Character character = first_character(text);
    if (character.num_bytes == 0) {
      out += escaped("\\x%02x", static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
      continue;
    }
    const bool is_kept = keep_lines && (character.code == '\n' || character.code == '\t');
    if (is_kept || is_printable(character.code)) {
      out += text.substr(0, character.num_bytes);
    } else {
      out += escaped_code(character.code);
    }
    text.remove_prefix(character.num_bytes);
  }
}

// The length of a character's beginning that ends the text; 0: the text ends with whole characters or none.
size_t torn_end(std::string_view text) {
  for (size_t length = 1; length <= std::min<size_t>(3, text.size()); ++length) {
    const auto byte = static_cast<unsigned char>(text[text.size() - length]);
    if ((byte & 0xc0) == 0x80) continue;
    return length_by_first_byte(byte) > length ? length : 0;
  }
  return 0;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  append_printable(out, text, /*keep_lines=*/false);
  return out;
}

std::string printable_lines(std::string_view text) {
  std::string out;
  append_printable(out, text, /*keep_lines=*/true);
  return out;
}

std::string excerpt(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return printable(text);
  std::string_view shown = text.substr(0, max_bytes);
  shown.remove_suffix(torn_end(shown));
  return printable(shown) + "... (" + std::to_string(text.size()) + " bytes)";
}

std::string one_line(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && kBlanks.find(line.back()) != kBlanks.npos) line.remove_suffix(1);
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    if (line.empty()) continue;
    if (!out.empty()) out += out.back() == ':' || out.back() == ';' ? " " : "; ";
    out += printable(line);
  }
  return out;
}

std::string PrintableStream::add(std::string_view piece) {
  const std::string text = std::exchange(torn_, {}).append(piece);
  const size_t torn = torn_end(text);
  torn_ = text.substr(text.size() - torn);
  std::string out;
  append_printable(out, std::string_view(text).substr(0, text.size() - torn), /*keep_lines=*/true);
  return out;
}

std::string PrintableStream::finish() { return printable(std::exchange(torn_, {})); }

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Character character = first_character(text);
    if (character.num_bytes == 0) return false;
    text.remove_prefix(character.num_bytes);
  }
  return true;
}

std::string as_utf8(std::string_view text) { return is_utf8(text) ? std::string(text) : printable(text); }

}  // namespace rosa::base
