#include "base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/host_name.h"

namespace rosa::base {

FolderLock::FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience) {
  const std::filesystem::path path = folder / "lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw_file_error("open", path, errno);
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
  const std::string name = concat("process ", ::getpid(), " on ", host_name());
  if (::ftruncate(descriptor_, 0) == 0 && ::pwrite(descriptor_, name.data(), name.size(), 0) < 0) {
    static_cast<void>(::ftruncate(descriptor_, 0));
  }
}

// The file stays: removing it could take it from under one who has just opened it.
FolderLock::~FolderLock() { ::close(descriptor_); }

}  // namespace rosa::base
