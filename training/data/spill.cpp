#include "training/data/spill.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

namespace rosa::training {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

base::FileDescriptor open_nameless(const std::filesystem::path& folder) {
  base::FileDescriptor descriptor(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (descriptor.get() >= 0) return descriptor;
  // Some file systems know no O_TMPFILE.
  std::string name = (folder / ".rosa-XXXXXX").string();
  base::FileDescriptor named(::mkostemp(name.data(), O_CLOEXEC));
  if (named.get() < 0) base::throw_file_error("mkostemp", folder, errno);
  ::unlink(name.c_str());
  return named;
}

}  // namespace

void Spill::flush() {
  if (descriptor_.get() < 0) descriptor_ = open_nameless(folder_);
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t count =
        ::pwrite(descriptor_.get(), buffer_.data() + done, buffer_.size() - done, static_cast<off_t>(file_size_));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) base::throw_file_error("pwrite (to a file without a name)", folder_, errno);
    done += static_cast<size_t>(count);
    file_size_ += count;
  }
  buffer_.clear();
}

void Spill::append(std::span<const std::byte> bytes) {
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  size_ += static_cast<int64_t>(bytes.size());
  if (buffer_.size() >= kBufferBytes) flush();
}

void Spill::read(int64_t offset, std::span<std::byte> output) const {
  while (!output.empty() && offset < file_size_) {
    const size_t wanted = std::min(output.size(), static_cast<size_t>(file_size_ - offset));
    const ssize_t count = ::pread(descriptor_.get(), output.data(), wanted, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) base::throw_file_error("pread (of a file without a name)", folder_, count < 0 ? errno : EIO);
    output = output.subspan(static_cast<size_t>(count));
    offset += count;
  }
  if (!output.empty()) std::memcpy(output.data(), buffer_.data() + (offset - file_size_), output.size());
}

void Spill::for_each_piece(const std::function<void(std::span<const std::byte>)>& use) const {
  std::vector<std::byte> piece(kBufferBytes);
  for (int64_t offset = 0; offset < size_; offset += static_cast<int64_t>(piece.size())) {
    piece.resize(static_cast<size_t>(std::min<int64_t>(kBufferBytes, size_ - offset)));
    read(offset, piece);
    use(piece);
  }
}

std::filesystem::path spill_folder(const std::filesystem::path& output) {
  const base::OutputTarget target = base::output_target(output);
  if (target.is_stream) return std::filesystem::temp_directory_path();
  return target.path.has_parent_path() ? target.path.parent_path() : ".";
}

}  // namespace rosa::training
