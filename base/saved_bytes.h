// Numbers in the bytes that a state saves: little-endian, 8 bytes each, and a reader that trusts none of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace rosa::base {

inline constexpr size_t kSavedNumberBytes = 8;

inline void put_number(std::vector<std::byte>& bytes, uint64_t number) {
  for (size_t i = 0; i < kSavedNumberBytes; ++i) bytes.push_back(static_cast<std::byte>(number >> (8 * i)));
}

// Reads from the front. Throws DataError, whose text stands between `before` and `after`, where too few are left or a
// count is too large.
class SavedBytesReader {
 public:
  SavedBytesReader(std::span<const std::byte> bytes, std::string before, std::string after = "")
      : rest_(bytes), before_(std::move(before)), after_(std::move(after)) {}

  std::span<const std::byte> take(uint64_t num_bytes) {
    require<DataError>(num_bytes <= rest_.size(), before_, "expected ", num_bytes, " more bytes, got ", rest_.size(),
                       after_);
    const auto taken = rest_.first(num_bytes);
    rest_ = rest_.subspan(num_bytes);
    return taken;
  }

  uint64_t number() {
    const auto bytes = take(kSavedNumberBytes);
    uint64_t number = 0;
    for (size_t i = 0; i < kSavedNumberBytes; ++i) number |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
    return number;
  }

  // A number from 0 to kMaxCount; `name` is what errors call it.
  int64_t count(const char* name) {
    constexpr uint64_t kMaxCount = uint64_t{1} << 30;
    const uint64_t count = number();
    require<DataError>(count <= kMaxCount, before_, "got ", name, " ", count, ", expected at most ", kMaxCount, after_);
    return static_cast<int64_t>(count);
  }

  size_t num_left() const { return rest_.size(); }

 private:
  std::span<const std::byte> rest_;
  const std::string before_, after_;
};

}  // namespace rosa::base
