// Spill: bytes that are needed again later and must not stay in memory: in a file without a name, which is gone when
// this is, whatever ends the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "base/file.h"

namespace rosa::training {

class Spill {
 public:
  // The file lies in `folder` once it is needed; few bytes stay in memory.
  explicit Spill(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Throws FileError.
  void append(std::span<const std::byte> bytes);
  int64_t size() const { return size_; }
  // Calls `use` with all bytes in order, piece by piece. Throws FileError.
  void for_each_piece(const std::function<void(std::span<const std::byte>)>& use) const;
  // Copies [offset, offset + output.size()). Throws FileError.
  void read(int64_t offset, std::span<std::byte> output) const;

 private:
  void flush();

  std::filesystem::path folder_;
  base::FileDescriptor descriptor_{-1};
  std::vector<std::byte> buffer_;  // the end, which is not in the file yet
  int64_t size_ = 0, file_size_ = 0;
};

// The folder beside an output where much space may be needed for a while.
std::filesystem::path spill_folder(const std::filesystem::path& output);

}  // namespace rosa::training
