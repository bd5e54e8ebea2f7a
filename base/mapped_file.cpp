#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "base/error.h"

namespace rosa::base {
namespace {

// All mappings of this process, by where they begin.
struct Mapping {
  size_t num_bytes = 0;
  std::string path;
};

std::mutex& mappings_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::map<const std::byte*, Mapping, std::less<>>& mappings() {
  static auto& all = *new std::map<const std::byte*, Mapping, std::less<>>();  // outlives every MappedFile
  return all;
}

FileStamp stamp_of(const struct stat& status) {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = status.st_size,
          .modified_s = status.st_mtim.tv_sec,
          .modified_ns = status.st_mtim.tv_nsec};
}

FileStamp stamp_of(const FileDescriptor& descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) throw_file_error("stat", path, errno);
  return stamp_of(status);
}

constexpr const char* kAdvice = "; write a new version beside it and rename it, then start again";

}  // namespace

MappedFile::MappedFile(std::filesystem::path path)
    : path_(std::move(path)), descriptor_(open_regular_file(path_, O_RDONLY)) {
  std::array<char, 64> beginning{};
  const ssize_t count = ::pread(descriptor_.get(), beginning.data(), beginning.size(), 0);
  if (count < 0) throw_file_error("read", path_, errno);
  refuse_lfs_pointer(path_, {beginning.data(), static_cast<size_t>(count)});
  stamp_ = stamp_of(descriptor_, path_);
  const auto size = static_cast<size_t>(stamp_.size);
  if (size == 0) return;
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor_.get(), 0);
  if (memory == MAP_FAILED) throw_file_error("mmap", path_, errno);
  bytes_ = {static_cast<const std::byte*>(memory), size};
  const std::lock_guard lock(mappings_mutex());
  mappings()[bytes_.data()] = {size, path_.string()};
}

MappedFile::~MappedFile() { unmap(); }

void MappedFile::unmap() noexcept {
  if (bytes_.empty()) return;
  // Out of the list first: another thread may be given the address as soon as it is free.
  const std::lock_guard lock(mappings_mutex());
  mappings().erase(bytes_.data());
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::move(other.descriptor_)),
      stamp_(other.stamp_),
      bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(stamp_, other.stamp_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void MappedFile::require_same_size() const {
  const int64_t size = stamp_of(descriptor_, path_).size;
  require<FileError>(size == stamp_.size, "'", path_.string(), "' was changed while it was in use: it had ",
                     stamp_.size, " bytes and has ", size, kAdvice);
}

void MappedFile::require_same_content() const {
  require_same_size();
  require<FileError>(stamp_of(descriptor_, path_) == stamp_, "'", path_.string(),
                     "' was written to while it was in use", kAdvice);
}

std::string MappedFile::trouble_with_name() const {
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return concat("'", path_.string(), "' was deleted or moved");
    return concat("'", path_.string(), "' can't be reached any more (", std::strerror(errno), ")");
  }
  const FileStamp now = stamp_of(status);
  if (now.device == stamp_.device && now.inode == stamp_.inode) return "";
  return concat("'", path_.string(), "' was replaced by another file");
}

void MappedFile::release(std::span<const std::byte> bytes) const noexcept {
  // Whole pages: what lies beside them in a page may be in use.
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto last = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

std::string mapped_file_at(const void* address) {
  const auto* byte = static_cast<const std::byte*>(address);
  const std::lock_guard lock(mappings_mutex());
  auto next = mappings().upper_bound(byte);
  if (next == mappings().begin()) return "";
  --next;
  // A mapping ends with a whole page.
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t end = (next->second.num_bytes + page - 1) / page * page;
  return static_cast<size_t>(byte - next->first) < end ? next->second.path : "";
}

}  // namespace rosa::base
