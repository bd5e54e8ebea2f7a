#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"

namespace rosa::base {
namespace {

const char* kind_name(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

// The name that a temporary file NAME.tmp-PROCESS-HEXDIGITS was to get; empty for the name of any other file.
std::string target_of_temporary(const std::string& name) {
  constexpr std::string_view kMark = ".tmp-";
  const size_t mark = name.rfind(kMark);
  if (mark == std::string::npos) return {};
  const std::string_view rest = std::string_view(name).substr(mark + kMark.size());
  const size_t dash = rest.find('-');
  const bool is_ours = dash != std::string_view::npos && dash > 0 && dash + 1 < rest.size() &&
                       rest.substr(0, dash).find_first_not_of("0123456789") == std::string_view::npos &&
                       rest.substr(dash + 1).find_first_not_of("0123456789abcdef") == std::string_view::npos;
  return is_ours ? name.substr(0, mark) : std::string();
}

void sync_path(const std::filesystem::path& path, int flags) {
  const FileDescriptor descriptor(::open(path.c_str(), flags | O_CLOEXEC));
  if (descriptor.get() < 0) throw_file_error("open", path, errno);
  // EINVAL: a file system without fsync for folders, which then has nothing to make durable.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL) throw_file_error("fsync", path, errno);
}

void write_all(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error("write", path, errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

// N where the path is /proc/self/fd/N or another name of it, as /dev/fd/N is; else -1.
int named_descriptor(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  int descriptor = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), descriptor);
  if (error != std::errc() || end != name.data() + name.size() || descriptor < 0) return -1;
  std::error_code missing;
  const std::filesystem::path folder = std::filesystem::canonical(path.parent_path(), missing);
  if (missing || folder != std::filesystem::canonical("/proc/self/fd", missing) || missing) return -1;
  return descriptor;
}

constexpr int kMaxLinks = 40;  // as Linux has it

}  // namespace

void throw_file_error(std::string_view call, const std::filesystem::path& path, int error_number) {
  throw FileError(concat(call, " failed for '", path.string(), "': ", std::generic_category().message(error_number),
                         error_number == ENOSPC ? " (free some space, or choose another folder)" : ""));
}

FileDescriptor::~FileDescriptor() {
  if (value_ >= 0) ::close(value_);
}

FileDescriptor open_regular_file(const std::filesystem::path& path, int flags, int mode) {
  // O_NONBLOCK: the other end of a pipe may never come. It changes nothing for a regular file.
  FileDescriptor descriptor(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode));
  const bool is_open = descriptor.get() >= 0;
  const int open_error = errno;
  struct stat status {};
  const bool is_there = (is_open ? ::fstat(descriptor.get(), &status) : ::stat(path.c_str(), &status)) == 0;
  if (is_there && !S_ISREG(status.st_mode)) {
    throw FileError(concat("open failed for '", path.string(), "': it is ", kind_name(status.st_mode),
                           ", expected a regular file; remove it or name another path"));
  }
  if (!is_open || !is_there) throw_file_error("open", path, is_open ? errno : open_error);
  return descriptor;
}

void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view content) {
  require<DataError>(!content.starts_with("version https://git-lfs.github.com/spec/"), "'", path.string(),
                     "' is not the file itself but Git LFS's pointer to it: run `git lfs pull` in its repository, or "
                     "download the file");
}

std::string read_file(const std::filesystem::path& path, int64_t max_bytes, FileKind kind) {
  const FileDescriptor descriptor =
      kind == FileKind::regular ? open_regular_file(path, O_RDONLY)
                                : FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (descriptor.get() < 0) throw_file_error("open", path, errno);
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) throw_file_error("stat", path, errno);
  if (S_ISDIR(status.st_mode)) throw_file_error("read", path, EISDIR);
  // A writer that is there is waited for.
  if (kind == FileKind::any) ::fcntl(descriptor.get(), F_SETFL, 0);
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
  refuse_lfs_pointer(path, content);
  return content;
}

OutputTarget output_target(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  OutputTarget target{.path = path};
  std::error_code ignored;
  for (int num_links = 0;; ++num_links) {
    if (num_links > kMaxLinks) throw_file_error("open", path, ELOOP);
    // A link in /proc/self/fd leads to what is open, which may have no name or another file at its name.
    if (const int descriptor = named_descriptor(target.path); descriptor >= 0) {
      target.descriptor = descriptor;
      target.is_stream = true;
      return target;
    }
    const fs::path next = fs::read_symlink(target.path, ignored);
    if (ignored) break;
    target.path = target.path.parent_path() / next;  // an absolute one takes the place of all
  }
  struct stat status {};
  if (::stat(target.path.c_str(), &status) != 0) {
    if (errno != ENOENT) throw_file_error("open", path, errno);
    return target;
  }
  if (S_ISDIR(status.st_mode)) throw_file_error("open", path, EISDIR);
  if (S_ISSOCK(status.st_mode)) throw_file_error("open", path, ENXIO);
  target.is_stream = !S_ISREG(status.st_mode);
  return target;
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)), target_(output_target(path_)) {
  open_temporary();
}

void AtomicFile::open_temporary() {
  std::filesystem::path folder;
  if (target_.is_stream) folder = std::filesystem::temp_directory_path();
  struct stat existing {};
  const bool replaces = !target_.is_stream && ::stat(target_.path.c_str(), &existing) == 0;
  // A rename would not ask.
  if (replaces && ::access(target_.path.c_str(), W_OK) != 0) throw_file_error("open", path_, errno);
  std::random_device random;
  do {
    const std::string ending = concat(".tmp-", ::getpid(), "-", std::hex, random(), random());
    // A name may have 255 bytes.
    const std::string name = target_.path.filename().string().substr(0, 200);
    temporary_path_ = target_.is_stream ? folder / ("rosa" + ending) : target_.path.parent_path() / (name + ending);
    // Never a file or link that somebody has laid there.
    descriptor_ = ::open(temporary_path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) throw_file_error("open", temporary_path_, errno);
  if (target_.is_stream) ::unlink(temporary_path_.c_str());
  if (replaces) static_cast<void>(::fchmod(descriptor_, existing.st_mode & 0777));  // as good as it goes
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() noexcept {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  descriptor_ = -1;
  if (!target_.is_stream) ::unlink(temporary_path_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  require(descriptor_ >= 0, "AtomicFile::write: '", path_.string(), "' is already committed");
  write_all(descriptor_, bytes, temporary_path_);
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
  if (target_.is_stream) {
    copy_to_stream();
    return discard();
  }
  // Some file systems report a full disk only here or in close.
  if (::fsync(descriptor_) != 0) throw_file_error("fsync", temporary_path_, errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    int error_number = errno;
    ::unlink(temporary_path_.c_str());
    throw_file_error("close", temporary_path_, error_number);
  }
  if (::rename(temporary_path_.c_str(), target_.path.c_str()) != 0) {
    int error_number = errno;
    ::unlink(temporary_path_.c_str());
    throw_file_error("rename", path_, error_number);
  }
  sync_folder(target_.path.has_parent_path() ? target_.path.parent_path() : ".");
}

void AtomicFile::copy_to_stream() {
  // Without O_NONBLOCK a pipe that nobody reads would be waited for without end.
  const int stream = target_.descriptor >= 0
                         ? ::fcntl(target_.descriptor, F_DUPFD_CLOEXEC, 0)
                         : ::open(target_.path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (stream < 0) throw_file_error(errno == ENXIO ? "open (does nobody read the pipe?)" : "open", path_, errno);
  const FileDescriptor closing(stream);
  if (target_.descriptor < 0) ::fcntl(stream, F_SETFL, ::fcntl(stream, F_GETFL) & ~O_NONBLOCK);
  if (::lseek(descriptor_, 0, SEEK_SET) != 0) throw_file_error("lseek", temporary_path_, errno);
  std::vector<std::byte> buffer(size_t{1} << 16);
  while (true) {
    const ssize_t count = ::read(descriptor_, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error("read", temporary_path_, errno);
    if (count == 0) return;
    write_all(stream, {buffer.data(), static_cast<size_t>(count)}, path_);
  }
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

void remove_temporaries(const std::filesystem::path& folder,
                        const std::function<bool(const std::string& name)>& is_of) {
  std::vector<std::filesystem::path> left;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    const bool is_file = entry->symlink_status(ignored).type() == std::filesystem::file_type::regular;
    const std::string target = is_file ? target_of_temporary(name) : std::string();
    if (!target.empty() && is_of(target)) left.push_back(entry->path());
  }
  for (const std::filesystem::path& path : left) std::filesystem::remove(path, error);
}

void sync_folder(const std::filesystem::path& path) { sync_path(path, O_RDONLY | O_DIRECTORY); }

void sync_file(const std::filesystem::path& path) { sync_path(path, O_RDONLY | O_NONBLOCK); }

}  // namespace rosa::base
