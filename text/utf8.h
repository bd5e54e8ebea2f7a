// UTF-8 as Unicode's chapter 3.9 recommends it: each maximal part of a character that does not go on becomes U+FFFD.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rosa::text {

// The size in bytes of the whole character at the beginning of `text`, 0 where there is none. Then `*invalid` (at least
// 1 for a text that is not empty) is the size of what becomes one U+FFFD, and `*torn` says whether more bytes could
// still complete it.
size_t character_size(std::string_view text, size_t* invalid, bool* torn);

// Appends `bytes` with U+FFFD for what is no UTF-8; returns how many there were.
size_t append_as_utf8(std::string_view bytes, std::string& text);

// The character that begins at `at` of a text that is UTF-8; moves `at` behind it.
uint32_t next_character(std::string_view text, size_t& at);

// Whether append_as_utf8 would change nothing.
bool is_utf8(std::string_view bytes);

// How many bytes at the end begin a character and do not complete it.
size_t torn_size(std::string_view bytes);

}  // namespace rosa::text
