#include "text/byte_level.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace rosa::text {
namespace {

constexpr uint32_t kNumCharacters = 0x144;  // the greatest is U+0143

bool stands_for_itself(uint32_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

// -1: stands for no byte.
std::array<int16_t, kNumCharacters> make_table() {
  std::array<int16_t, kNumCharacters> table{};
  table.fill(-1);
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    table[stands_for_itself(byte) ? byte : next++] = static_cast<int16_t>(byte);
  }
  return table;
}

}  // namespace

std::optional<std::string> bytes_of_characters(std::string_view token) {
  static const std::array<int16_t, kNumCharacters> table = make_table();
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const uint32_t character = next_character(token, at);
    if (character >= kNumCharacters || table[character] < 0) return std::nullopt;
    bytes += static_cast<char>(table[character]);
  }
  return bytes;
}

}  // namespace rosa::text
