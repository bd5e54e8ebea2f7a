#include "training/tensorboard/record.h"

#include "base/crc32c.h"
#include "training/tensorboard/protobuf.h"

namespace rosa::training::tensorboard {
namespace {

constexpr size_t kLengthBytes = 8, kChecksumBytes = 4, kHeaderBytes = kLengthBytes + kChecksumBytes;

// The format's mask, so that a checksum of bytes that hold checksums is no special case.
uint32_t masked_checksum(std::string_view bytes) {
  const uint32_t checksum = base::crc32c(bytes);
  return ((checksum >> 15) | (checksum << 17)) + 0xa282ead8u;
}

bool fits(std::string_view bytes, std::string_view checksum) {
  return from_little_endian<uint32_t>(checksum) == masked_checksum(bytes);
}

}  // namespace

std::string framed(std::string_view bytes) {
  std::string record;
  append_little_endian(record, static_cast<uint64_t>(bytes.size()));
  append_little_endian(record, masked_checksum(record));
  record += bytes;
  append_little_endian(record, masked_checksum(bytes));
  return record;
}

std::optional<std::string_view> RecordReader::next() {
  const std::string_view rest = content_.substr(position_);
  if (rest.size() < kHeaderBytes || !fits(rest.substr(0, kLengthBytes), rest.substr(kLengthBytes))) return {};
  const auto length = from_little_endian<uint64_t>(rest);
  if (length > rest.size() - kHeaderBytes || rest.size() - kHeaderBytes - length < kChecksumBytes) return {};
  const std::string_view bytes = rest.substr(kHeaderBytes, length);
  if (!fits(bytes, rest.substr(kHeaderBytes + length))) return {};
  position_ += kHeaderBytes + length + kChecksumBytes;
  return bytes;
}

bool RecordReader::is_cut() const {
  const std::string_view rest = content_.substr(position_);
  if (rest.size() < kHeaderBytes) return !rest.empty();
  if (!fits(rest.substr(0, kLengthBytes), rest.substr(kLengthBytes))) return false;
  const size_t left = rest.size() - kHeaderBytes;
  const auto length = from_little_endian<uint64_t>(rest);
  return length > left || left - length < kChecksumBytes;
}

}  // namespace rosa::training::tensorboard
