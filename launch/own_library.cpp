#include "launch/own_library.h"

#include <system_error>
#include <vector>

namespace rosa::launch {

namespace fs = std::filesystem;

fs::path own_library(const std::string& file) {
  std::error_code ignored;
  const fs::path prefix = fs::read_symlink("/proc/self/exe", ignored).parent_path().parent_path();
  std::vector<fs::path> folders = {prefix / "lib", prefix / "lib64"};
  for (const auto& entry : fs::directory_iterator(prefix / "lib", ignored)) {
    if (entry.is_directory(ignored)) folders.push_back(entry.path());
  }
  for (const fs::path& folder : folders) {
    if (fs::exists(folder / file, ignored)) return folder / file;
  }
  return folders.front() / file;
}

}  // namespace rosa::launch
