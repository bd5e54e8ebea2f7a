#include "text/utf8.h"

#include <algorithm>
#include <cstring>

namespace rosa::text {
namespace {

unsigned char byte(std::string_view text, size_t at) { return static_cast<unsigned char>(text[at]); }

// How many bytes the character takes that begins with `first`, and what its second byte may be (Unicode, table 3-7).
struct Form {
  size_t size;
  unsigned char least, greatest;
};

Form form_of(unsigned char first) {
  if (first < 0x80) return {1, 0, 0};
  if (first < 0xc2 || first > 0xf4) return {0, 0, 0};
  if (first < 0xe0) return {2, 0x80, 0xbf};
  if (first == 0xe0) return {3, 0xa0, 0xbf};
  if (first == 0xed) return {3, 0x80, 0x9f};
  if (first < 0xf0) return {3, 0x80, 0xbf};
  if (first == 0xf0) return {4, 0x90, 0xbf};
  if (first == 0xf4) return {4, 0x80, 0x8f};
  return {4, 0x80, 0xbf};
}

}  // namespace

size_t character_size(std::string_view text, size_t* invalid, bool* torn) {
  *invalid = 0;
  *torn = false;
  if (text.empty()) return 0;
  const Form form = form_of(byte(text, 0));
  *invalid = 1;
  if (form.size <= 1) return form.size;
  for (size_t at = 1; at < form.size; ++at) {
    if (at == text.size()) {
      *torn = true;
      return 0;
    }
    const unsigned char least = at == 1 ? form.least : 0x80;
    const unsigned char greatest = at == 1 ? form.greatest : 0xbf;
    if (byte(text, at) < least || byte(text, at) > greatest) return 0;
    ++*invalid;
  }
  return form.size;
}

size_t append_as_utf8(std::string_view bytes, std::string& text) {
  size_t num_invalid = 0, invalid = 0;
  bool torn = false;
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = character_size(bytes.substr(at), &invalid, &torn);
    if (size > 0) {
      text.append(bytes, at, size);
    } else {
      text += "\xef\xbf\xbd";
      ++num_invalid;
    }
    at += size > 0 ? size : invalid;
  }
  return num_invalid;
}

uint32_t next_character(std::string_view text, size_t& at) {
  const unsigned char first = byte(text, at);
  const size_t size = form_of(first).size;
  if (size == 1) return byte(text, at++);
  uint32_t character = first & (0xffu >> (size + 1));
  for (size_t i = 1; i < size; ++i) character = character << 6 | (byte(text, at + i) & 0x3fu);
  at += size;
  return character;
}

bool is_utf8(std::string_view bytes) {
  size_t invalid = 0;
  bool torn = false;
  for (size_t at = 0; at < bytes.size();) {
    // Eight ASCII bytes at once.
    uint64_t word = 0;
    while (at + sizeof word <= bytes.size()) {
      std::memcpy(&word, bytes.data() + at, sizeof word);
      if ((word & 0x8080808080808080u) != 0) break;
      at += sizeof word;
    }
    if (at == bytes.size()) break;
    const size_t size = character_size(bytes.substr(at), &invalid, &torn);
    if (size == 0) return false;
    at += size;
  }
  return true;
}

size_t torn_size(std::string_view bytes) {
  for (size_t size = std::min<size_t>(3, bytes.size()); size > 0; --size) {
    size_t invalid = 0;
    bool torn = false;
    character_size(bytes.substr(bytes.size() - size), &invalid, &torn);
    if (torn && invalid == size) return size;
  }
  return 0;
}

}  // namespace rosa::text
