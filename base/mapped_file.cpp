#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
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

size_t size_of(const FileDescriptor& descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) throw_file_error("stat", path, errno);
  return static_cast<size_t>(status.st_size);
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path)
    : path_(std::move(path)), descriptor_(open_regular_file(path_, O_RDONLY)) {
  std::array<char, 64> beginning{};
  const ssize_t count = ::pread(descriptor_.get(), beginning.data(), beginning.size(), 0);
  if (count < 0) throw_file_error("read", path_, errno);
  refuse_lfs_pointer(path_, {beginning.data(), static_cast<size_t>(count)});
  const size_t size = size_of(descriptor_, path_);
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
      bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void MappedFile::require_same_size() const {
  const size_t size = size_of(descriptor_, path_);
  require<FileError>(size == bytes_.size(), "'", path_.string(), "' was changed while it was in use: it had ",
                     bytes_.size(), " bytes and has ", size,
                     "; write a new version beside it and rename it, then start again");
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
