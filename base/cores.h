// The cores that this process may use, and a rank's share of them. Reads affinity, /proc and /sys; what can't be found
// is no limit, never an error.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rosa::base {

struct CoreLimits {
  std::vector<int> cores;     // the affinity of the calling thread
  double cgroup_cores = 0.0;  // the smallest CPU quota of its cgroups, version 2 or 1; 0: none
};

// `root` stands for "/" (tests give another).
CoreLimits read_core_limits(const std::filesystem::path& root = "/");

// What cgroups of version 2 (cpu.max) and 1 (cpu.cfs_quota_us) allow this process in cores; 0: no limit.
double read_cgroup_cores(const std::filesystem::path& root);

// Of CoreLimits as a text, for others to read back: "2.5 0 1 5".
std::string to_text(const CoreLimits& limits);

// This rank's cores, at least 1. `ranks_of_host` holds the limits (as text) of all ranks of the host, this one's too.
// A core that n ranks may use counts 1/n for each of them; a cgroup's limit is divided by the number of ranks.
int share_of_cores(const CoreLimits& own, const std::vector<std::string>& ranks_of_host);

}  // namespace rosa::base
