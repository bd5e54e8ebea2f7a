// Regular expressions ask for a character's category, and PCRE2 knows an older Unicode than the library that a
// tokenizer was made with: Debian 12 has Unicode 14, `tokenizers` 0.23 has Unicode 16. So characters that it does not
// know are matched by others of their category.
#pragma once

#include <string>
#include <string_view>

namespace rosa::text {

// `text` (UTF-8) to match expressions against: equal in size, and every character is where it was. Returns `text`
// itself, or a view of `buffer`, which is overwritten.
std::string_view with_stand_ins(std::string_view text, std::string& buffer);

}  // namespace rosa::text
