#include "base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/host_name.h"

namespace rosa::base {

namespace {

// What a holder writes begins with it.
constexpr std::string_view kHolder = "process ";

// Taking the lock cuts the file, so its name alone does not make it ours.
void require_own_lock(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw_file_error("stat", path, errno);
  std::array<char, kHolder.size()> start{};
  const ssize_t count = S_ISREG(status.st_mode) ? ::pread(descriptor, start.data(), start.size(), 0) : -1;
  const bool is_own = count == 0 || std::string_view(start.data(), start.size()) == kHolder;
  require<FileError>(is_own, "'", path.string(),
                     "' is no lock that this program made: move it away, or choose another folder");
}

// A link could be laid there by whoever may write to the folder, and would lead elsewhere.
int open_lock(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
  require<FileError>(descriptor >= 0 || errno != ELOOP, "'", path.string(),
                     "' is a symbolic link, which no lock is: remove it, or choose another folder");
  if (descriptor < 0) throw_file_error("open", path, errno);
  try {
    require_own_lock(descriptor, path);
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  return descriptor;
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience) {
  const std::filesystem::path path = folder / "lock";
  descriptor_ = open_lock(path);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return;  // the file system has no locks
    if (std::chrono::steady_clock::now() >= deadline) {
      char holder[320] = {};
      if (::pread(descriptor_, holder, sizeof(holder) - 1, 0) <= 0) holder[0] = '\0';
      ::close(descriptor_);
      throw FileError(concat("'", folder.string(), "' is in use", *holder == '\0' ? "" : " by ", holder,
                             ": wait for its end, or choose another folder"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  // For the error of whoever comes second; a courtesy, so that a full disk must not matter.
  const std::string name = concat(kHolder, ::getpid(), " on ", host_name());
  if (::ftruncate(descriptor_, 0) == 0 && ::pwrite(descriptor_, name.data(), name.size(), 0) < 0) {
    static_cast<void>(::ftruncate(descriptor_, 0));
  }
}

// The file stays: removing it could take it from under one who has just opened it.
FolderLock::~FolderLock() { ::close(descriptor_); }

}  // namespace rosa::base
