// ByteStream: the bytes of a file, pipe or device from its beginning to its end, unpacked where they are gzip or zstd.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/file.h"

namespace rosa::training {

class ByteStream {
 public:
  // `should_stop` is asked where a signal ends a wait: true ends it with an error. Throws FileError, and DataError for
  // a pointer of Git LFS.
  explicit ByteStream(const std::filesystem::path& path, std::function<bool()> should_stop = {});
  ~ByteStream();
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  // Appends about `num_bytes` more, fewer at the end. Returns whether there was any. Throws FileError, and DataError
  // for packed data that is damaged or cut off.
  bool read(size_t num_bytes, std::string& output);
  // Bytes read of the file itself.
  int64_t num_raw_bytes() const { return num_raw_bytes_; }
  // "gzip", "zstd" or "".
  const std::string& compression() const { return compression_; }

 private:
  class Unpacker;
  class Gzip;
  class Zstd;

  bool read_raw(std::string& output);

  std::filesystem::path path_;
  std::function<bool()> should_stop_;
  base::FileDescriptor descriptor_;
  int64_t num_raw_bytes_ = 0;
  std::string compression_, raw_;
  std::unique_ptr<Unpacker> unpacker_;
};

}  // namespace rosa::training
