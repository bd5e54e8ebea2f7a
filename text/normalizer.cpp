#include "text/normalizer.h"

#include <utf8proc.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#include "text/utf8.h"

namespace rosa::text {
namespace {

utf8proc_option_t options_of(NormalForm form) {
  int options = UTF8PROC_STABLE;
  options |= form == NormalForm::nfc || form == NormalForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::nfkc || form == NormalForm::nfkd) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

// Whether the character stays as it is and never joins the one before it. False may be wrong: it only costs time.
bool is_stable(uint32_t character, NormalForm form) {
  if (character < 0x80) return true;
  if (form != NormalForm::nfc) return false;
  return character < 0x300 ||                                                                             // Latin
         (character >= 0x400 && character <= 0x482) ||                                                    // Cyrillic
         (character >= 0x4e00 && character <= 0x9fff) ||                                                  // Chinese
         (character >= 0x3041 && character <= 0x3096) || (character >= 0x30a1 && character <= 0x30fa) ||  // Japanese
         (character >= 0xac00 && character <= 0xd7a3) ||                                                  // Korean
         (character >= 0x2010 && character <= 0x205e) || (character >= 0x3001 && character <= 0x3029) ||  // punctuation
         (character >= 0xff01 && character <= 0xff9d) || (character >= 0x1f300 && character <= 0x1faff);  // wide, emoji
}

void append_normalized(std::string_view text, NormalForm form, std::string& output) {
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &result, options_of(form));
  if (size < 0) throw std::bad_alloc();  // the text is UTF-8, so there is no other reason
  output.append(reinterpret_cast<const char*>(result), static_cast<size_t>(size));
  std::free(result);
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
