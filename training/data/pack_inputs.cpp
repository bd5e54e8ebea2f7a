// The files that the inputs of `rosa data pack` stand for.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "training/data/pack.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

// Walks one folder.
class Walk {
 public:
  explicit Walk(std::vector<fs::path>& files) : files_(files) {}

  void walk(const fs::path& folder) {
    if (!is_new(folder)) return;
    std::error_code error;
    std::vector<fs::path> entries;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      if (!it->path().filename().string().starts_with(".")) entries.push_back(it->path());
    }
    if (error) base::throw_file_error("readdir", folder, error.value());
    std::sort(entries.begin(), entries.end());
    for (const fs::path& entry : entries) {
      if (fs::is_directory(entry, error)) {
        walk(entry);
      } else if (fs::is_regular_file(entry, error) && is_new(entry)) {
        files_.push_back(entry);
      }
    }
  }

 private:
  // Not met before under any name: links may lead in circles.
  bool is_new(const fs::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) base::throw_file_error("stat", path, errno);
    return seen_.emplace(status.st_dev, status.st_ino).second;
  }

  std::vector<fs::path>& files_;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

}  // namespace

std::vector<fs::path> files_of(const std::vector<fs::path>& inputs) {
  std::vector<fs::path> files;
  for (const fs::path& input : inputs) {
    std::error_code ignored;
    if (!fs::is_directory(input, ignored)) {
      files.push_back(input);
      continue;
    }
    const size_t before = files.size();
    Walk(files).walk(input);
    base::require<base::DataError>(files.size() > before, "'", input.string(), "' is a folder without files");
  }
  return files;
}

}  // namespace rosa::training
