// Safetensors files (https://github.com/huggingface/safetensors) as named spans of bytes: a reader that maps the file
// and trusts nothing in it, and an atomic writer. Tensors of ATen are made elsewhere (rosa/operator/tensor_bytes.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"

namespace rosa::base {

// Bytes of one tensor, row-major and little-endian, owned by someone else. They need not be aligned.
struct TensorView {
  std::string dtype;  // safetensors' name: "F32", "BF16", "I64", "U8", "BOOL", ...
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

// Bytes of one element, or 0 for a name that safetensors does not know and for elements that are no whole bytes (F4).
int64_t dtype_size_bytes(std::string_view dtype);

class SafetensorsFile {
 public:
  // Checks the whole header against the file. Throws FileError if it can't be opened and DataError, naming file and
  // tensor, if it is truncated, damaged or hostile.
  explicit SafetensorsFile(const std::filesystem::path& path);

  // Views that live as long as this object.
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  bool contains(const std::string& name) const { return tensors_.count(name) != 0; }
  // Throws DataError, naming the nearest names, if there is no such tensor.
  const TensorView& at(const std::string& name) const;
  const std::filesystem::path& path() const { return file_.path(); }
  // What the views look at.
  const MappedFile& file() const { return file_; }

 private:
  MappedFile file_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes atomically (base/file.h); equal content gives equal bytes. Throws FileError, and ArgumentError where a
// tensor's bytes do not fit its shape and dtype.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace rosa::base
