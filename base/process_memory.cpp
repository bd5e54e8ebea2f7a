#include "base/process_memory.h"

#include <fstream>
#include <limits>
#include <string>

namespace rosa::base {

std::optional<ProcessMemory> read_process_memory(const std::filesystem::path& root) {
  std::ifstream file(root / "proc/self/smaps_rollup");
  std::optional<int64_t> resident, proportional;
  for (std::string name; file >> name;) {
    int64_t kib = 0;
    if ((name == "Rss:" || name == "Pss:") && file >> kib) (name == "Rss:" ? resident : proportional) = kib * 1024;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  if (!resident || !proportional) return std::nullopt;
  return ProcessMemory{*resident, *proportional};
}

}  // namespace rosa::base
