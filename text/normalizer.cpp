#include "text/normalizer.h"

#include <utf8proc.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "text/character_ranges.h"
#include "text/utf8.h"

namespace rosa::text {
namespace {

utf8proc_option_t options_of(NormalForm form) {
  int options = UTF8PROC_STABLE;
  options |= form == NormalForm::nfc || form == NormalForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::nfkc || form == NormalForm::nfkd) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

// The reference (PyPI's `tokenizers`) normalises by Unicode 9. Characters that came later and would change, join or be
// reordered are plain ones to it. In order.
struct CharacterRange {
  uint32_t first, last;
};
// U+11A7 is older: utf8proc takes it for a final consonant behind a Korean syllable, and drops it.
constexpr std::array kSinceUnicode9 = std::to_array<CharacterRange>(
    {{0x558, 0x558},     {0x58b, 0x58c},     {0x5c8, 0x5c9},     {0x7fd, 0x7fd},     {0x897, 0x89f},
     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},
     {0x11a7, 0x11a7},   {0x1715, 0x1715},   {0x1abf, 0x1af0},   {0x1df6, 0x1dfa},   {0x209d, 0x209f},
     {0x32ff, 0x32ff},   {0xa7f1, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x105c9, 0x105c9},
     {0x105d2, 0x105d2}, {0x105da, 0x105da}, {0x105e4, 0x105e4}, {0x10781, 0x10785}, {0x10787, 0x107b0},
     {0x107b2, 0x107bf}, {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10ecb, 0x10ecf},
     {0x10ef0, 0x10efb}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070},
     {0x1133b, 0x1133b}, {0x11382, 0x11385}, {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x11391},
     {0x113b8, 0x113b8}, {0x113bb, 0x113bb}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113c9},
     {0x113ce, 0x113d0}, {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x11935, 0x11935},
     {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
     {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
     {0x11f41, 0x11f42}, {0x1611e, 0x16129}, {0x1612f, 0x1612f}, {0x16d63, 0x16d63}, {0x16d67, 0x16d6a},
     {0x16ff0, 0x16ff1}, {0x1b123, 0x1b126}, {0x1ccd6, 0x1ccf9}, {0x1d127, 0x1d128}, {0x1d250, 0x1d252},
     {0x1d25b, 0x1d25c}, {0x1d25f, 0x1d25f}, {0x1d280, 0x1d281}, {0x1d6a6, 0x1d6a6}, {0x1df95, 0x1df95},
     {0x1dfcd, 0x1dfff}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
     {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef}, {0x1e6e3, 0x1e6e3}, {0x1e6e6, 0x1e6e6},
     {0x1e6ee, 0x1e6ef}, {0x1e6f5, 0x1e6f5}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9}});

bool came_since_unicode_9(uint32_t character) { return range_of(kSinceUnicode9, character) != nullptr; }

// Whether the character stays as it is and never joins the one before it. False may be wrong: it only costs time.
bool is_stable(uint32_t character, NormalForm form) {
  if (character < 0x80) return true;
  if (form != NormalForm::nfc) return came_since_unicode_9(character);
  return character < 0x300 ||                                                                             // Latin
         (character >= 0x400 && character <= 0x482) ||                                                    // Cyrillic
         (character >= 0x4e00 && character <= 0x9fff) ||                                                  // Chinese
         (character >= 0x3041 && character <= 0x3096) || (character >= 0x30a1 && character <= 0x30fa) ||  // Japanese
         (character >= 0xac00 && character <= 0xd7a3) ||                                                  // Korean
         (character >= 0x2010 && character <= 0x205e) || (character >= 0x3001 && character <= 0x3029) ||  // punctuation
         (character >= 0xff01 && character <= 0xff9d) ||
         (character >= 0x1f300 && character <= 0x1faff) ||  // wide, emoji
         came_since_unicode_9(character);
}

void append_by_utf8proc(std::string_view text, NormalForm form, std::string& output) {
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &result, options_of(form));
  if (size < 0) throw std::bad_alloc();  // the text is UTF-8, so there is no other reason
  output.append(reinterpret_cast<const char*>(result), static_cast<size_t>(size));
  std::free(result);
}

// Nothing happens across a character that came later.
void append_normalized(std::string_view text, NormalForm form, std::string& output) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    if (!came_since_unicode_9(next_character(text, at))) continue;
    if (begin < here) append_by_utf8proc(text.substr(begin, here - begin), form, output);
    output.append(text, here, at - here);
    begin = at;
  }
  if (begin < text.size()) append_by_utf8proc(text.substr(begin), form, output);
}

// Where `text` first needs work: the last stable character before what is not stable; npos: nowhere.
size_t first_to_normalize(std::string_view text, size_t at, NormalForm form) {
  for (size_t last_stable = at; at < text.size();) {
    const size_t here = at;
    if (!is_stable(next_character(text, at), form)) return last_stable;
    last_stable = here;
  }
  return std::string_view::npos;
}

// Only what lies between stable characters is given to utf8proc: nothing is composed or reordered across one.
std::string normalized(std::string_view text, size_t first, NormalForm form) {
  std::string output(text.substr(0, first));
  while (first != std::string_view::npos) {
    size_t end = first;
    next_character(text, end);  // a stable one, which what follows may join
    while (end < text.size()) {
      const size_t here = end;
      if (is_stable(next_character(text, end), form)) {
        end = here;
        break;
      }
    }
    append_normalized(text.substr(first, end - first), form, output);
    const size_t next = first_to_normalize(text, end, form);
    output.append(text.substr(end, next == std::string_view::npos ? next : next - end));
    first = next;
  }
  return output;
}

}  // namespace

std::string_view Normalizer::operator()(std::string_view text, std::string& buffer) const {
  for (const NormalForm form : forms_) {
    const size_t first = first_to_normalize(text, 0, form);
    if (first == std::string_view::npos) continue;
    buffer = normalized(text, first, form);
    text = buffer;
  }
  return text;
}

}  // namespace rosa::text
