// Token ids as Megatron-LM keeps them (NVIDIA, its IndexedDataset): NAME.idx says where the
// sequences and documents of NAME.bin lie.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/mapped_file.h"

namespace rosa::training {

class MegatronFile {
 public:
  // Either of the two names. Throws FileError, and DataError naming file and offset for what does not fit together.
  explicit MegatronFile(const std::filesystem::path& path);

  // Whether the file's name is one of the two.
  static bool has_name_of(const std::filesystem::path& path);

  int64_t num_documents() const { return num_documents_; }
  // Appends the ids of all sequences of a document. Throws DataError for one that is negative.
  void read(int64_t document, std::vector<int64_t>& ids) const;
  int64_t num_bytes() const { return static_cast<int64_t>(data_.bytes().size()); }

 private:
  template <class Number>
  Number index_at(uint64_t offset) const;

  base::MappedFile index_, data_;
  int64_t num_sequences_ = 0, num_documents_ = 0;
  int64_t width_ = 0;
  bool is_signed_ = true;
};

}  // namespace rosa::training
