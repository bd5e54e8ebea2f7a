#include "training/data/byte_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"

namespace rosa::training {
namespace {

using base::DataError;

constexpr size_t kRawBytes = size_t{1} << 18;

// Pipes and devices are read where the user names them.
base::FileDescriptor open_input(const std::filesystem::path& path) {
  struct stat status {};
  const bool is_stream = ::stat(path.c_str(), &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
  if (!is_stream) return base::open_regular_file(path, O_RDONLY);
  base::FileDescriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor.get() < 0) base::throw_file_error("open", path, errno);
  return descriptor;
}

}  // namespace

// Turns packed bytes into plain ones.
class ByteStream::Unpacker {
 public:
  explicit Unpacker(const std::filesystem::path& path) : path_(path) {}
  virtual ~Unpacker() = default;

  // Appends what `packed` gives, at most about `room` bytes, and removes from `packed` what was used.
  virtual void unpack(std::string& packed, size_t room, std::string& output) = 0;
  // Called at the end: whether the data may end here.
  virtual bool is_at_an_end() const = 0;

 protected:
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    throw DataError(base::concat("'", path_.string(), "' is damaged: ", parts...));
  }

 private:
  std::filesystem::path path_;
};

class ByteStream::Gzip : public ByteStream::Unpacker {
 public:
  explicit Gzip(const std::filesystem::path& path) : Unpacker(path) {
    constexpr int kGzipOnly = 16;
    base::require<base::Error>(inflateInit2(&stream_, MAX_WBITS + kGzipOnly) == Z_OK, "zlib can't be started");
  }
  ~Gzip() override { inflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  void unpack(std::string& packed, size_t room, std::string& output) override {
    // Several members may follow each other; zeros behind the last mean nothing.
    if (is_at_end_) {
      if (packed.find_first_not_of('\0') == packed.npos) return packed.clear();
      inflateReset(&stream_);
      is_at_end_ = false;
    }
    const size_t before = output.size();
    output.resize(before + room);
    stream_.next_in = reinterpret_cast<Bytef*>(packed.data());
    stream_.avail_in = static_cast<uInt>(packed.size());
    stream_.next_out = reinterpret_cast<Bytef*>(output.data() + before);
    stream_.avail_out = static_cast<uInt>(room);
    const int code = inflate(&stream_, Z_NO_FLUSH);
    output.resize(output.size() - stream_.avail_out);
    packed.erase(0, packed.size() - stream_.avail_in);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
      fail("no gzip after ", stream_.total_out, " bytes of its text (", stream_.msg != nullptr ? stream_.msg : "?",
           ")");
    }
    is_at_end_ = code == Z_STREAM_END;
  }
  bool is_at_an_end() const override { return is_at_end_; }

 private:
  z_stream stream_{};
  bool is_at_end_ = false;
};

class ByteStream::Zstd : public ByteStream::Unpacker {
 public:
  explicit Zstd(const std::filesystem::path& path) : Unpacker(path), stream_(ZSTD_createDStream(), ZSTD_freeDStream) {
    base::require<base::Error>(stream_ != nullptr, "zstd can't be started");
  }

  void unpack(std::string& packed, size_t room, std::string& output) override {
    const size_t before = output.size();
    output.resize(before + room);
    ZSTD_inBuffer in{packed.data(), packed.size(), 0};
    ZSTD_outBuffer out{output.data() + before, room, 0};
    const size_t code = ZSTD_decompressStream(stream_.get(), &out, &in);
    output.resize(before + out.pos);
    packed.erase(0, in.pos);
    if (ZSTD_isError(code) != 0) fail("no zstd (", ZSTD_getErrorName(code), ")");
    is_at_end_ = code == 0;
  }
  bool is_at_an_end() const override { return is_at_end_; }

 private:
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  bool is_at_end_ = false;
};

ByteStream::ByteStream(const std::filesystem::path& path, std::function<bool()> should_stop)
    : path_(path), should_stop_(std::move(should_stop)), descriptor_(open_input(path)) {
  constexpr size_t kSignatureBytes = 4;
  while (raw_.size() < kSignatureBytes && read_raw(raw_)) {
  }
  base::refuse_lfs_pointer(path, raw_);
  if (raw_.starts_with("\x1f\x8b")) {
    compression_ = "gzip";
    unpacker_ = std::make_unique<Gzip>(path);
  } else if (raw_.starts_with("\x28\xb5\x2f\xfd")) {
    compression_ = "zstd";
    unpacker_ = std::make_unique<Zstd>(path);
  }
}

ByteStream::~ByteStream() = default;

bool ByteStream::read_raw(std::string& output) {
  const size_t before = output.size();
  output.resize(before + kRawBytes);
  ssize_t count = -1;
  while ((count = ::read(descriptor_.get(), output.data() + before, kRawBytes)) < 0 && errno == EINTR) {
    base::require<base::Error>(!should_stop_ || !should_stop_(), "stopped");
  }
  if (count < 0) base::throw_file_error("read", path_, errno);
  output.resize(before + static_cast<size_t>(count));
  num_raw_bytes_ += count;
  return count > 0;
}

bool ByteStream::read(size_t num_bytes, std::string& output) {
  const size_t before = output.size();
  if (!unpacker_) {
    output += std::exchange(raw_, {});
    while (output.size() - before < num_bytes && read_raw(output)) {
    }
    return output.size() > before;
  }
  bool is_stuck = false;  // with what is there
  while (output.size() - before < num_bytes) {
    if ((raw_.empty() || is_stuck) && !read_raw(raw_)) {
      base::require<DataError>(unpacker_->is_at_an_end() && raw_.empty(), "'", path_.string(), "' ends within its ",
                               compression_, " data: is it cut off?");
      break;
    }
    const size_t packed = raw_.size(), plain = output.size();
    unpacker_->unpack(raw_, kRawBytes, output);
    is_stuck = raw_.size() == packed && output.size() == plain;
  }
  return output.size() > before;
}

}  // namespace rosa::training
