// FolderLock: keeps a second program out of a folder in which one works. It is gone with its process, however that
// ends.
#pragma once

#include <chrono>
#include <filesystem>

namespace rosa::base {

class FolderLock {
 public:
  // Takes the lock, on the file `lock` in the folder. Throws FileError where another lock of the folder is held beyond
  // `patience`, here or in another process (named) of any host that sees the folder, and where the file can't be made.
  // Where the file system knows no locks, none is held. A `lock` that is a link or somebody else's file is left as it
  // is: FileError.
  FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace rosa::base
