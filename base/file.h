// Reading whole files with a bound, and writing files so that a crash or a full disk never damages the old one.
// Every failure is a FileError that names the call, the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace rosa::base {

// Closes on the way out. Errors of close are of no interest where a file was only read.
class FileDescriptor {
 public:
  explicit FileDescriptor(int value) : value_(value) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept : value_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int get() const { return value_; }
  // The caller closes it from now on.
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

// Opens a regular file (flags as for open, and O_CLOEXEC). Never waits: what is a named pipe, a device, a socket or a
// folder is refused by a FileError that says so.
FileDescriptor open_regular_file(const std::filesystem::path& path, int flags, int mode = 0666);

// What a file that is read whole may be. A pipe or device makes sense only where the user names it (`<(command)`,
// /dev/stdin); one without a writer then reads as empty.
enum class FileKind { regular, any };

// Returns the whole file. Throws FileError if it can't be read, and DataError if it is longer than `max_bytes` or only
// Git-LFS's pointer to the file.
std::string read_file(const std::filesystem::path& path, int64_t max_bytes, FileKind kind = FileKind::regular);

// Throws DataError where `content`, the beginning of a file, is that of a pointer which Git LFS leaves in place of a
// file that was not downloaded.
void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view content);

// Where writing to a path goes. A symbolic link is followed, also one whose target is not there yet: the target is
// what is written, and the link stays. /dev/stdout, /dev/fd/N and their like are open descriptors of this process.
struct OutputTarget {
  std::filesystem::path path;
  int descriptor = -1;     // the open one that the path names; -1: none
  bool is_stream = false;  // a device, pipe or open descriptor: bytes go into it, and nothing can take its place
};
// Throws FileError for a folder, a socket and a loop of links.
OutputTarget output_target(const std::filesystem::path& path);

// A file written beside its destination and renamed onto it by commit(); it keeps the permissions of the one it
// replaces. Until commit() the file has a name that nobody can foresee. Destroyed before that, it leaves no trace.
// Where the path leads to a stream (output_target), commit() writes all of it into that.
class AtomicFile {
 public:
  // Throws FileError, also where a file of this name may not be written.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends. Throws FileError.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // Overwrites bytes that were written before (a header whose content is known last). Throws FileError.
  void write_at(int64_t offset, std::span<const std::byte> bytes);
  // Makes the file durable and visible: fsync, close, rename, fsync of the folder. Nothing may be written after it.
  void commit();

 private:
  void open_temporary();
  void copy_to_stream();
  void discard() noexcept;

  std::filesystem::path path_;
  OutputTarget target_;
  std::filesystem::path temporary_path_;
  int descriptor_ = -1;
};

// One AtomicFile with this content.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// Removes what killed writers left in `folder` of the files for whose names `is_of` says yes: to be called by whoever
// alone may write these files. What can't be removed stays.
void remove_temporaries(const std::filesystem::path& folder, const std::function<bool(const std::string& name)>& is_of);

// "open failed for 'a/b': No such file or directory", as a FileError.
[[noreturn]] void throw_file_error(std::string_view call, const std::filesystem::path& path, int error_number);

// Makes the names in a folder durable: without it a rename may be lost in a power failure.
void sync_folder(const std::filesystem::path& path);

// Makes the content of a file that was written by others durable.
void sync_file(const std::filesystem::path& path);

}  // namespace rosa::base
