// MappedFile: a whole file as read-only memory, shared by all ranks of a machine through the page cache.
// Our own writers replace files, they never shorten them. Where somebody else shortens one in place, reading beyond its
// new end is a SIGBUS: mapped_file_at() tells a handler which file it is (launch/failure.h has one).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/file.h"

namespace rosa::base {

// Which file it is, and how it was last written.
struct FileStamp {
  uint64_t device = 0, inode = 0;
  int64_t size = 0, modified_s = 0, modified_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

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
  // Throws FileError where the file was written to since it was mapped: its bytes may be others. By size and time.
  void require_same_content() const;
  // What happened to the file's name since, in words; empty: it still leads to this file. The bytes are there until
  // the mapping ends, whatever becomes of the name.
  std::string trouble_with_name() const;

  // Gives the memory behind these bytes back to the system, which reads the file again where they are used again.
  void release(std::span<const std::byte> bytes) const noexcept;

 private:
  void unmap() noexcept;

  std::filesystem::path path_;
  FileDescriptor descriptor_{-1};
  FileStamp stamp_;
  std::span<const std::byte> bytes_;
};

// The path of the mapped file that this address lies in; empty: none.
std::string mapped_file_at(const void* address);

}  // namespace rosa::base
