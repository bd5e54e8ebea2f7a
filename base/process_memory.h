// What this process takes of the host's memory, as the kernel tells it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace rosa::base {

struct ProcessMemory {
  int64_t resident_bytes = 0;  // RSS: all pages that are mapped now
  // PSS: a page that n processes have mapped counts 1/n. Summed over the ranks of a host it is what they take together.
  int64_t proportional_bytes = 0;
};

// Walks the tables of all pages: milliseconds for gigabytes. Empty where the kernel does not tell. `root` stands for
// "/" (tests give another).
std::optional<ProcessMemory> read_process_memory(const std::filesystem::path& root = "/");

}  // namespace rosa::base
