#include "base/checksum.h"

#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mapped_file.h"

namespace rosa::base {

uint64_t checksum(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t checksum(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

// Piece by piece: the pages of a whole model would count as this process's memory, beside its weights.
uint64_t file_checksum(const std::filesystem::path& path) {
  constexpr size_t kPieceBytes = size_t{4} << 20;
  const MappedFile file(path);
  ChecksumStream stream;
  for (auto rest = file.bytes(); !rest.empty();) {
    const auto piece = rest.first(std::min(rest.size(), kPieceBytes));
    stream.update(piece);
    file.release(piece);
    rest = rest.subspan(piece.size());
  }
  return stream.value();
}

std::string to_hex(uint64_t value) {
  std::string text(16, '0');
  for (size_t digit = 16; digit-- > 0; value >>= 4) text[digit] = "0123456789abcdef"[value & 15];
  return text;
}

struct ChecksumStream::State {
  XXH3_state_t xxh3;
};

ChecksumStream::ChecksumStream() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->xxh3); }

ChecksumStream::~ChecksumStream() = default;

void ChecksumStream::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
}

uint64_t ChecksumStream::value() const { return XXH3_64bits_digest(&state_->xxh3); }

}  // namespace rosa::base
