// The byte-level alphabet of GPT-2 (Radford et al. 2019): each byte is one printable character, so that a vocabulary of
// byte strings can be written as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rosa::text {

// The bytes that a token's characters stand for; nothing where one of them stands for no byte.
std::optional<std::string> bytes_of_characters(std::string_view token);

}  // namespace rosa::text
