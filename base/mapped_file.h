// MappedFile: a whole file as read-only memory, shared by all ranks of a machine through the page cache.
// The file must not be shortened while it is mapped (our own writers replace files, they never shorten them).
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace rosa::base {

class MappedFile {
 public:
  // Throws FileError.
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace rosa::base
