#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace rosa::base {
namespace {

// Closes on the way out; errors of close are of no interest where the file was only read or synced.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags) : value_(::open(path.c_str(), flags | O_CLOEXEC)) {
    if (value_ < 0) throw_file_error("open", path, errno);
  }
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

void sync_path(const std::filesystem::path& path, int flags) {
  Descriptor descriptor(path, flags);
  // EINVAL: a file system without fsync for folders, which then has nothing to make durable.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL) throw_file_error("fsync", path, errno);
}

}  // namespace

void throw_file_error(std::string_view call, const std::filesystem::path& path, int error_number) {
  throw FileError(concat(call, " failed for '", path.string(), "': ", std::generic_category().message(error_number),
                         error_number == ENOSPC ? " (free some space, or choose another folder)" : ""));
}

std::string read_file(const std::filesystem::path& path, int64_t max_bytes) {
  Descriptor descriptor(path, O_RDONLY);
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) throw_file_error("stat", path, errno);
  if (S_ISDIR(status.st_mode)) throw_file_error("read", path, EISDIR);
  std::string content;
  // The size is a hint only: it is 0 for pipes and for files under /proc.
  content.resize(static_cast<size_t>(std::min<int64_t>(std::max<int64_t>(status.st_size, 0), max_bytes) + 1));
  size_t length = 0;
  while (true) {
    ssize_t count = ::read(descriptor.get(), content.data() + length, content.size() - length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error("read", path, errno);
    if (count == 0) break;
    length += static_cast<size_t>(count);
    require<DataError>(static_cast<int64_t>(length) <= max_bytes, "'", path.string(), "' is longer than ", max_bytes,
                       " bytes, the most that is read of such a file: is it the right file?");
    if (length == content.size()) {
      content.resize(std::min(content.size() * 2 + 4096, static_cast<size_t>(max_bytes) + 1));
    }
  }
  content.resize(length);
  return content;
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  static std::atomic<uint64_t> counter{0};
  temporary_path_ = path_;
  temporary_path_ += concat(".tmp-", ::getpid(), "-", counter++);
  descriptor_ = ::open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw_file_error("open", temporary_path_, errno);
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() noexcept {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  descriptor_ = -1;
  ::unlink(temporary_path_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  require(descriptor_ >= 0, "AtomicFile::write: '", path_.string(), "' is already committed");
  while (!bytes.empty()) {
    ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error("write", temporary_path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

void AtomicFile::write_at(int64_t offset, std::span<const std::byte> bytes) {
  require(descriptor_ >= 0, "AtomicFile::write_at: '", path_.string(), "' is already committed");
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error("pwrite", temporary_path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += count;
  }
}

void AtomicFile::commit() {
  require(descriptor_ >= 0, "AtomicFile::commit: '", path_.string(), "' is already committed");
  // Some file systems report a full disk only here or in close.
  if (::fsync(descriptor_) != 0) throw_file_error("fsync", temporary_path_, errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    int error_number = errno;
    ::unlink(temporary_path_.c_str());
    throw_file_error("close", temporary_path_, error_number);
  }
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    int error_number = errno;
    ::unlink(temporary_path_.c_str());
    throw_file_error("rename", path_, error_number);
  }
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

void sync_folder(const std::filesystem::path& path) { sync_path(path, O_RDONLY | O_DIRECTORY); }

void sync_file(const std::filesystem::path& path) { sync_path(path, O_RDONLY); }

}  // namespace rosa::base
