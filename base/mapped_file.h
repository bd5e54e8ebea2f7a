// MappedFile: a whole file as read-only memory, shared by all ranks of a machine through the page cache.
// Our own writers replace files, they never shorten them. Where somebody else shortens one in place, reading beyond its
// new end is a SIGBUS: mapped_file_at() tells a handler which file it is (launch/failure.h has one).
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "base/file.h"

namespace rosa::base {

class MappedFile {
 public:
  // Throws FileError, and DataError for a pointer of Git LFS.
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

  // Throws FileError where the file does not have the size any more that it had when it was mapped.
  void require_same_size() const;

 private:
  void unmap() noexcept;

  std::filesystem::path path_;
  FileDescriptor descriptor_{-1};
  std::span<const std::byte> bytes_;
};

// The path of the mapped file that this address lies in; empty: none.
std::string mapped_file_at(const void* address);

}  // namespace rosa::base
