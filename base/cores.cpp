#include "base/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

namespace rosa::base {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::string line;
  std::getline(std::ifstream(path), line);
  return line;
}

double first_number(const fs::path& path) {
  double number = 0;
  std::istringstream(first_line(path)) >> number;
  return number;
}

// `folder` and the folders around it up to `top`: a limit of any of them holds.
std::vector<fs::path> folders_up_to(const fs::path& top, const std::string& folder) {
  std::vector<fs::path> folders;
  for (fs::path inner = fs::path(folder).relative_path(); !inner.empty(); inner = inner.parent_path()) {
    folders.push_back(top / inner);
  }
  folders.push_back(top);
  return folders;
}

// "max 100000" is no limit.
double version_2_cores(const fs::path& folder) {
  double quota = 0, period = 0;
  return std::istringstream(first_line(folder / "cpu.max")) >> quota >> period && period > 0 ? quota / period : 0;
}

// A quota of -1 is no limit.
double version_1_cores(const fs::path& folder) {
  const double quota = first_number(folder / "cpu.cfs_quota_us"), period = first_number(folder / "cpu.cfs_period_us");
  return quota > 0 && period > 0 ? quota / period : 0;
}

std::vector<int> affinity() {
  // Larger than any machine's number of cores; the kernel refuses a set that is too small.
  constexpr int kMaxCores = 1 << 14;
  std::vector<int> cores;
  cpu_set_t* set = CPU_ALLOC(kMaxCores);
  const std::size_t num_bytes = CPU_ALLOC_SIZE(kMaxCores);
  CPU_ZERO_S(num_bytes, set);
  if (sched_getaffinity(0, num_bytes, set) == 0) {
    for (int core = 0; core < kMaxCores; ++core) {
      if (CPU_ISSET_S(static_cast<std::size_t>(core), num_bytes, set)) cores.push_back(core);
    }
  }
  CPU_FREE(set);
  return cores;
}

CoreLimits from_text(const std::string& text) {
  CoreLimits limits;
  std::istringstream stream(text);
  stream >> limits.cgroup_cores;
  for (int core = 0; stream >> core;) limits.cores.push_back(core);
  return limits;
}

}  // namespace

double read_cgroup_cores(const fs::path& root) {
  double smallest = 0;
  const auto limit = [&](double cores) {
    if (cores > 0 && (smallest == 0 || cores < smallest)) smallest = cores;
  };
  const fs::path top = root / "sys/fs/cgroup";
  std::string own_2, own_1;
  std::ifstream file(root / "proc/self/cgroup");
  // "0::/path" in version 2, "4:cpu,cpuacct:/path" in version 1.
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (line.starts_with("0::")) own_2 = line.substr(second + 1);
    if (controllers.find(",cpu,") != std::string::npos) own_1 = line.substr(second + 1);
  }
  for (const fs::path& folder : folders_up_to(top, own_2)) limit(version_2_cores(folder));
  for (const char* controller : {"cpu", "cpu,cpuacct"}) {
    for (const fs::path& folder : folders_up_to(top / controller, own_1)) limit(version_1_cores(folder));
  }
  return smallest;
}

CoreLimits read_core_limits(const fs::path& root) { return {affinity(), read_cgroup_cores(root)}; }

std::string to_text(const CoreLimits& limits) {
  std::ostringstream text;
  text << limits.cgroup_cores;
  for (const int core : limits.cores) text << ' ' << core;
  return text.str();
}

int share_of_cores(const CoreLimits& own, const std::vector<std::string>& ranks_of_host) {
  std::map<int, int> num_users;
  for (const std::string& rank : ranks_of_host) {
    for (const int core : from_text(rank).cores) ++num_users[core];
  }
  double share = 0;
  for (const int core : own.cores) share += 1.0 / std::max(1, num_users[core]);
  if (own.cgroup_cores > 0) {
    share = std::min(share, own.cgroup_cores / std::max<double>(1, static_cast<double>(ranks_of_host.size())));
  }
  constexpr double kRounding = 1e-6;  // thirds of three ranks are a whole
  return std::max(1, static_cast<int>(std::floor(share + kRounding)));
}

}  // namespace rosa::base
