#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/file.h"

namespace rosa::base {

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  const FileDescriptor descriptor = open_regular_file(path_, O_RDONLY);
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) throw_file_error("stat", path_, errno);
  std::array<char, 64> beginning{};
  const ssize_t count = ::pread(descriptor.get(), beginning.data(), beginning.size(), 0);
  if (count < 0) throw_file_error("read", path_, errno);
  refuse_lfs_pointer(path_, {beginning.data(), static_cast<size_t>(count)});
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return;
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor.get(), 0);
  if (memory == MAP_FAILED) throw_file_error("mmap", path_, errno);
  bytes_ = {static_cast<const std::byte*>(memory), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace rosa::base
