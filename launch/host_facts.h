// What the operating system says about this machine and this process: cores, affinity, limits, memory, disk.
// Reads /proc and /sys; a value that can't be found is 0 or empty, never an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace rosa::launch {

struct HostFacts {
  std::string host, system, cpu;
  std::set<std::string> cpu_flags;  // "avx2", "amx_bf16" ... as the system names them
  std::vector<int> cores;           // this process may run on these
  int num_cores_of_machine = 0;
  double cgroup_cores = 0.0;  // 0: no limit
  int64_t memory_bytes = 0, available_memory_bytes = 0;
  int64_t cgroup_memory_bytes = 0;       // 0: no limit
  int64_t free_shared_memory_bytes = 0;  // in /dev/shm, which MPI uses between ranks of a host
};

// How others on the network find this host.
struct NetworkFacts {
  std::vector<std::string> interfaces;  // "eth0 10.1.0.5": those that are up, IPv4, without the loopback device
  std::string own_address;              // what the host's own name resolves to; empty: to nothing
};
NetworkFacts read_network_facts();

// Limits of this process; -1: unlimited.
struct ProcessLimits {
  int64_t open_files = 0;
  int64_t locked_memory_bytes = 0;  // what network cards with remote memory access need much of
};
ProcessLimits read_process_limits();

// `root` stands for "/" (tests give another).
HostFacts read_host_facts(const std::filesystem::path& root = "/");

// Free bytes for this user on the file system of `path`; 0 where it can't be told.
int64_t free_disk_bytes(const std::filesystem::path& path);

// The folder that exists and that `path` is or would be in.
std::filesystem::path existing_part_of(std::filesystem::path path);

// "0-3,8" for {0,1,2,3,8}.
std::string core_list_text(const std::vector<int>& cores);

// "23.4 GiB".
std::string bytes_text(int64_t bytes);
// The same, and below a MiB "1.5 KiB" or "12 B".
std::string size_text(int64_t bytes);

// Cores that this process can really use: the smaller of affinity and cgroup limit, at least 1.
int usable_cores(const HostFacts& facts);

}  // namespace rosa::launch
