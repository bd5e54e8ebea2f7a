// XXH3 (64 bits) of bytes: finds damaged files, is no protection against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace rosa::base {

uint64_t checksum(std::span<const std::byte> bytes);
uint64_t checksum(std::string_view text);

// Of a file's whole content. Throws FileError.
uint64_t file_checksum(const std::filesystem::path& path);

// 16 lower-case hexadecimal digits.
std::string to_hex(uint64_t value);

// The same checksum of bytes that come in pieces.
class ChecksumStream {
 public:
  ChecksumStream();
  ~ChecksumStream();
  void update(std::span<const std::byte> bytes);
  // Of everything so far; more may follow.
  uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rosa::base
