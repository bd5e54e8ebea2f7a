#include "training/tensorboard/protobuf.h"

namespace rosa::training::tensorboard {

std::optional<uint64_t> ProtoReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return {};
}

std::optional<std::string_view> ProtoReader::take(uint64_t size) {
  if (size > rest_.size()) return {};
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

std::optional<ProtoField> ProtoReader::next() {
  if (rest_.empty() || is_damaged_) return {};
  is_damaged_ = true;  // until the field is whole
  const auto tag = varint();
  if (!tag || *tag >> 3 == 0 || *tag >> 3 > 0x1fffffff) return {};
  ProtoField field{.number = static_cast<int>(*tag >> 3), .type = static_cast<WireType>(*tag & 7)};
  switch (field.type) {
    case WireType::varint: {
      const auto value = varint();
      if (!value) return {};
      field.value = *value;
      break;
    }
    case WireType::fixed64:
    case WireType::fixed32: {
      const bool is_long = field.type == WireType::fixed64;
      const auto bytes = take(is_long ? 8 : 4);
      if (!bytes) return {};
      field.value = is_long ? from_little_endian<uint64_t>(*bytes) : from_little_endian<uint32_t>(*bytes);
      break;
    }
    case WireType::bytes: {
      const auto size = varint();
      const auto bytes = size ? take(*size) : std::nullopt;
      if (!bytes) return {};
      field.bytes = *bytes;
      break;
    }
    default:
      return {};
  }
  is_damaged_ = false;
  return field;
}

}  // namespace rosa::training::tensorboard
