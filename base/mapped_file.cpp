#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/file.h"

namespace rosa::base {

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw_file_error("open", path_, errno);
  struct stat status {};
  int error_number = ::fstat(descriptor, &status) != 0 ? errno
                     : S_ISREG(status.st_mode)         ? 0
                     : S_ISDIR(status.st_mode)         ? EISDIR
                                                       : ESPIPE;
  void* memory = nullptr;
  if (error_number == 0 && status.st_size > 0) {
    memory = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) error_number = errno;
  }
  ::close(descriptor);
  if (error_number != 0) throw_file_error("mmap", path_, error_number);
  if (memory != nullptr) bytes_ = {static_cast<const std::byte*>(memory), static_cast<size_t>(status.st_size)};
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
