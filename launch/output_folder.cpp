#include "launch/output_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <random>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "launch/output_file.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using base::ConfigError;
using base::require;

bool lies_in(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

// "a/b/" as "a/b", links followed.
fs::path place_of(const fs::path& path) {
  std::error_code ignored;
  const fs::path place = fs::weakly_canonical(fs::absolute(path), ignored);
  return place.has_filename() ? place : place.parent_path();
}

void rename_folder(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) base::throw_file_error("rename", to, errno);
}

}  // namespace

OutputFolder::OutputFolder(OutputFolderRequest request) : request_(std::move(request)) {
  require<ConfigError>(!request_.path.empty(), request_.option, ": ", refuse_empty_name(""));
  target_ = place_of(request_.path);
  const std::string shown = base::concat(request_.option, " ", request_.path.string());
  for (const fs::path& input : request_.inputs) {
    if (input.empty()) continue;
    const fs::path folder = place_of(input);
    require<ConfigError>(target_ != folder, shown, ": is a folder that is read; name another");
    require<ConfigError>(!lies_in(target_, folder), shown, ": lies in '", input.string(),
                         "', which is read; name another");
    require<ConfigError>(!lies_in(folder, target_), shown, ": holds '", input.string(),
                         "', which is read; name another");
  }
  const fs::path parent = target_.parent_path();
  std::error_code ignored;
  require<base::FileError>(fs::is_directory(parent, ignored), shown, ": there is no folder '", parent.string(),
                           "' to make it in; make it first");
  require<base::FileError>(::access(parent.c_str(), W_OK) == 0, shown, ": nothing may be written in '", parent.string(),
                           "'");
  check_existing();
}

void OutputFolder::check_existing() const {
  std::error_code error;
  if (!fs::exists(target_, error)) return;
  const std::string shown = base::concat(request_.option, " ", request_.path.string());
  require<ConfigError>(fs::is_directory(target_, error), shown, ": is there and is no folder; name another");
  bool is_empty = true;
  for (const auto& entry : fs::recursive_directory_iterator(target_)) {
    is_empty = false;
    const bool is_folder = entry.is_directory() && !entry.is_symlink();
    const std::string name = entry.path().lexically_relative(target_).string() + (is_folder ? "/" : "");
    const bool is_plain = is_folder || (entry.is_regular_file() && !entry.is_symlink());
    require<ConfigError>(is_plain && request_.is_own_name(name), shown, ": is there and holds '", base::excerpt(name),
                         "', which this command did not write; name another folder, or move that file");
  }
  require<ConfigError>(is_empty || request_.is_own(target_), shown,
                       ": is there and was not made by this command; name another folder");
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

const fs::path& OutputFolder::begin() {
  std::random_device random;
  char suffix[32];
  std::snprintf(suffix, sizeof(suffix), ".partial-%08x%08x", random(), random());
  fs::path path = target_;
  path += suffix;
  if (::mkdir(path.c_str(), 0777) != 0) base::throw_file_error("mkdir", path, errno);
  temporary_ = path;
  return temporary_;
}

void OutputFolder::commit() {
  for (const auto& entry : fs::recursive_directory_iterator(temporary_)) {
    if (entry.is_directory()) {
      base::sync_folder(entry.path());
    } else {
      base::sync_file(entry.path());
    }
  }
  base::sync_folder(temporary_);
  check_existing();  // much time may have passed
  std::error_code ignored;
  if (!fs::exists(target_, ignored)) {
    rename_folder(temporary_, target_);
    temporary_.clear();
  } else if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0) {
    // A file system that can't exchange two folders: for a moment there is neither.
    fs::path old = temporary_;
    old += ".old";
    rename_folder(target_, old);
    rename_folder(temporary_, target_);
    temporary_ = old;
  }
  base::sync_folder(target_.parent_path());
  // What is now in the temporary place is the folder that was replaced; the destructor removes it.
}

}  // namespace rosa::launch
