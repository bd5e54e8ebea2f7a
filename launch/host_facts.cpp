#include "launch/host_facts.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>
#include <system_error>

#include "base/cores.h"
#include "base/error.h"
#include "base/host_name.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::string line;
  std::getline(std::ifstream(path), line);
  return line;
}

// The text behind "key   : value" or "key: value", or "KEY=value".
std::string value_of(const fs::path& path, const std::string& key, char separator) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    std::size_t at = line.find(separator);
    if (at == std::string::npos) continue;
    at = line.find_first_not_of(" \t\"", at + 1);
    if (at == std::string::npos) return "";
    const std::size_t end = line.find_last_not_of(" \t\"");
    return line.substr(at, end - at + 1);
  }
  return "";
}

int64_t kib_of(const fs::path& path, const std::string& key) {
  int64_t kib = 0;
  std::istringstream(value_of(path, key, ':')) >> kib;
  return kib * 1024;
}

// The folders of this process's cgroup (version 2), innermost first: a limit of any of them holds.
std::vector<fs::path> cgroup_folders(const fs::path& root) {
  std::string own;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::")) own = line.substr(3);
  }
  std::vector<fs::path> folders;
  const fs::path top = root / "sys/fs/cgroup";
  for (fs::path inner = fs::path(own).relative_path(); !inner.empty(); inner = inner.parent_path()) {
    folders.push_back(top / inner);
  }
  folders.push_back(top);
  return folders;
}

void read_memory_limit(const fs::path& root, HostFacts& facts) {
  for (const fs::path& folder : cgroup_folders(root)) {
    int64_t bytes = 0;
    if (std::istringstream(first_line(folder / "memory.max")) >> bytes && bytes > 0) {
      if (facts.cgroup_memory_bytes == 0 || bytes < facts.cgroup_memory_bytes) facts.cgroup_memory_bytes = bytes;
    }
  }
}

// "10.1.0.5"; empty for other families than IPv4.
std::string address_text(const sockaddr* address) {
  if (address == nullptr || address->sa_family != AF_INET) return "";
  std::array<char, INET_ADDRSTRLEN> text{};
  const auto* internet = reinterpret_cast<const sockaddr_in*>(address);
  return inet_ntop(AF_INET, &internet->sin_addr, text.data(), text.size()) == nullptr ? "" : text.data();
}

int64_t limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0) return 0;
  return limit.rlim_cur == RLIM_INFINITY ? -1 : static_cast<int64_t>(limit.rlim_cur);
}

}  // namespace

NetworkFacts read_network_facts() {
  NetworkFacts facts;
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) == 0) {
    for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
      const bool is_up = (entry->ifa_flags & IFF_UP) != 0, is_loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
      const std::string address = address_text(entry->ifa_addr);
      if (is_up && !is_loopback && !address.empty()) facts.interfaces.push_back(entry->ifa_name + (" " + address));
    }
    freeifaddrs(first);
  }
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* answer = nullptr;
  if (getaddrinfo(base::host_name().c_str(), nullptr, &hints, &answer) == 0) {
    facts.own_address = address_text(answer->ai_addr);
    freeaddrinfo(answer);
  }
  return facts;
}

ProcessLimits read_process_limits() { return {limit_of(RLIMIT_NOFILE), limit_of(RLIMIT_MEMLOCK)}; }

HostFacts read_host_facts(const fs::path& root) {
  HostFacts facts;
  facts.host = base::host_name();
  utsname names{};
  uname(&names);
  facts.system = value_of(root / "etc/os-release", "PRETTY_NAME", '=') + ", " + names.sysname + " " + names.release;
  facts.cpu = value_of(root / "proc/cpuinfo", "model name", ':');
  for (const char* key : {"flags", "Features"}) {  // Features: on ARM
    std::istringstream words(value_of(root / "proc/cpuinfo", key, ':'));
    for (std::string word; words >> word;) facts.cpu_flags.insert(word);
  }
  if (facts.cpu.empty()) facts.cpu = names.machine;
  const base::CoreLimits limits = base::read_core_limits(root);
  facts.cores = limits.cores;
  facts.cgroup_cores = limits.cgroup_cores;
  facts.num_cores_of_machine = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  facts.memory_bytes = kib_of(root / "proc/meminfo", "MemTotal");
  facts.available_memory_bytes = kib_of(root / "proc/meminfo", "MemAvailable");
  read_memory_limit(root, facts);
  facts.free_shared_memory_bytes = free_disk_bytes(root / "dev/shm");
  return facts;
}

int64_t free_disk_bytes(const fs::path& path) {
  std::error_code error;
  const fs::space_info space = fs::space(path, error);
  return error ? 0 : static_cast<int64_t>(space.available);
}

std::string core_list_text(const std::vector<int>& cores) {
  std::string text;
  for (std::size_t i = 0; i < cores.size();) {
    std::size_t last = i;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(cores[i]);
    // += twice: g++ 12 warns falsely of overlapping copies in "-" + std::string.
    if (last > i) (text += '-') += std::to_string(cores[last]);
    i = last + 1;
  }
  return text;
}

std::filesystem::path existing_part_of(std::filesystem::path path) {
  path = std::filesystem::absolute(path);
  std::error_code error;
  while (!std::filesystem::exists(path, error) && path.has_parent_path() && path != path.parent_path()) {
    path = path.parent_path();
  }
  return path;
}

std::string size_text(int64_t bytes) {
  if (bytes < 1 << 10) return base::concat(bytes, " B");
  if (bytes >= 1 << 20) return bytes_text(bytes);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g KiB", static_cast<double>(bytes) / (1 << 10));
  return text.data();
}

std::string bytes_text(int64_t bytes) {
  std::array<char, 32> text{};
  const double gib = static_cast<double>(bytes) / (1 << 30);
  if (gib >= 1) {
    std::snprintf(text.data(), text.size(), "%.1f GiB", gib);
  } else {
    std::snprintf(text.data(), text.size(), "%.0f MiB", static_cast<double>(bytes) / (1 << 20));
  }
  return text.data();
}

int usable_cores(const HostFacts& facts) {
  const int by_affinity = std::max(1, static_cast<int>(facts.cores.size()));
  if (facts.cgroup_cores <= 0) return by_affinity;
  return std::max(1, std::min(by_affinity, static_cast<int>(std::floor(facts.cgroup_cores))));
}

}  // namespace rosa::launch
