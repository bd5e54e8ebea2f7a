#include "base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <thread>

#include "base/error.h"

namespace rosa::base {
namespace {

// For the error of whoever comes second.
std::string name_of_this_process() {
  char host[256] = {};
  if (::gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return concat("process ", ::getpid(), " on ", host);
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience) {
  const std::filesystem::path path = folder / "lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  require<FileError>(descriptor_ >= 0, "open failed for '", path.string(),
                     "': ", std::generic_category().message(errno));
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
  // Who holds it is a courtesy: a full disk must not matter.
  const std::string name = name_of_this_process();
  if (::ftruncate(descriptor_, 0) == 0 && ::pwrite(descriptor_, name.data(), name.size(), 0) < 0) {
    static_cast<void>(::ftruncate(descriptor_, 0));
  }
}

// The file stays: removing it could take it from under one who has just opened it.
FolderLock::~FolderLock() { ::close(descriptor_); }

}  // namespace rosa::base
