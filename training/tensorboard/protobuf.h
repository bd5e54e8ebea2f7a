// The wire format of protocol buffers, as much of it as event files need: messages are written field by field and taken
// apart again. Knows no schema.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rosa::training::tensorboard {

enum class WireType : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// Little-endian, whatever the machine is.
template <class Unsigned>
void append_little_endian(std::string& text, Unsigned value) {
  for (size_t i = 0; i < sizeof(value); ++i) text += static_cast<char>((value >> (8 * i)) & 0xff);
}
// Of the first bytes of `text`, which must be there.
template <class Unsigned>
Unsigned from_little_endian(std::string_view text) {
  Unsigned value = 0;
  for (size_t i = 0; i < sizeof(value); ++i) value |= static_cast<Unsigned>(static_cast<uint8_t>(text[i])) << (8 * i);
  return value;
}

class ProtoWriter {
 public:
  ProtoWriter& integer(int field, int64_t value) {
    tag(field, WireType::varint);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  ProtoWriter& number(int field, double value) {
    tag(field, WireType::fixed64);
    append_little_endian(message_, std::bit_cast<uint64_t>(value));
    return *this;
  }
  ProtoWriter& number(int field, float value) {
    tag(field, WireType::fixed32);
    append_little_endian(message_, std::bit_cast<uint32_t>(value));
    return *this;
  }
  // A text, bytes or a message.
  ProtoWriter& bytes(int field, std::string_view value) {
    tag(field, WireType::bytes);
    varint(value.size());
    message_ += value;
    return *this;
  }
  ProtoWriter& bytes(int field, const ProtoWriter& value) { return bytes(field, std::string_view(value.message_)); }
  ProtoWriter& packed(int field, std::span<const double> values) {
    std::string list;
    for (const double value : values) append_little_endian(list, std::bit_cast<uint64_t>(value));
    return bytes(field, list);
  }

  const std::string& message() const { return message_; }

 private:
  void tag(int field, WireType type) { varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(type)); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) message_ += static_cast<char>(value | 0x80);
    message_ += static_cast<char>(value);
  }

  std::string message_;
};

struct ProtoField {
  int number = 0;
  WireType type = WireType::varint;
  uint64_t value = 0;           // of all types but bytes
  std::string_view bytes = {};  // of the reader's message

  double as_double() const { return std::bit_cast<double>(value); }
  float as_float() const { return std::bit_cast<float>(static_cast<uint32_t>(value)); }
};

// Takes a message apart, field after field. The message must outlive it.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : rest_(message) {}

  // Nothing at the end, and where the message is damaged.
  std::optional<ProtoField> next();
  bool is_damaged() const { return is_damaged_; }

 private:
  std::optional<uint64_t> varint();
  std::optional<std::string_view> take(uint64_t size);

  std::string_view rest_;
  bool is_damaged_ = false;
};

}  // namespace rosa::training::tensorboard
