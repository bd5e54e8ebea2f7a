#include "training/data/megatron_file.h"

#include <cstring>
#include <string_view>

#include "base/error.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::DataError;

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr uint64_t kHeaderBytes = 9 + 8 + 1 + 8 + 8;

fs::path with_extension(fs::path path, const char* extension) { return path.replace_extension(extension); }

}  // namespace

bool MegatronFile::has_name_of(const fs::path& path) {
  return path.extension() == ".bin" || path.extension() == ".idx";
}

template <class Number>
Number MegatronFile::index_at(uint64_t offset) const {
  Number value;
  std::memcpy(&value, index_.bytes().data() + offset, sizeof(value));
  return value;
}

MegatronFile::MegatronFile(const fs::path& path)
    : index_(with_extension(path, ".idx")), data_(with_extension(path, ".bin")) {
  const auto require = [this](bool good, const auto&... parts) {
    base::require<DataError>(good, "'", index_.path().string(), "' is no index of Megatron-LM's: ", parts...);
  };
  const uint64_t size = index_.bytes().size();
  require(size >= kHeaderBytes && std::memcmp(index_.bytes().data(), kMagic.data(), kMagic.size()) == 0,
          "it does not start with MMIDIDX (offset 0)");
  require(index_at<uint64_t>(9) == 1, "it has version ", index_at<uint64_t>(9), " (offset 9), expected 1");
  const auto code = index_at<uint8_t>(17);
  // 1 uint8, 2 int8, 3 int16, 4 int32, 5 int64, 8 uint16
  constexpr int64_t kWidths[] = {0, 1, 1, 2, 4, 8, 0, 0, 2};
  width_ = code < std::size(kWidths) ? kWidths[code] : 0;
  require(width_ > 0, "its tokens have type ", int{code}, " (offset 17), expected whole numbers: 1 to 5 or 8");
  is_signed_ = code != 1 && code != 8;
  const auto num_sequences = index_at<uint64_t>(18), num_starts = index_at<uint64_t>(26);
  require(num_sequences <= size / 12 && num_starts <= size / 8 && num_starts >= 1 &&
              kHeaderBytes + 12 * num_sequences + 8 * num_starts <= size,
          "it claims ", num_sequences, " sequences (offset 18) and ", num_starts,
          " document starts (offset 26), but has only ", size, " bytes (is it cut off?)");
  num_sequences_ = static_cast<int64_t>(num_sequences);
  num_documents_ = static_cast<int64_t>(num_starts) - 1;
  const auto data_bytes = static_cast<uint64_t>(data_.bytes().size());
  for (uint64_t i = 0; i < num_sequences; ++i) {
    const auto length = index_at<int32_t>(kHeaderBytes + 4 * i);
    const auto first = index_at<int64_t>(kHeaderBytes + 4 * num_sequences + 8 * i);
    const bool good =
        length >= 0 && first >= 0 && static_cast<uint64_t>(first) <= data_bytes &&
        static_cast<uint64_t>(length) * static_cast<uint64_t>(width_) <= data_bytes - static_cast<uint64_t>(first);
    require(good, "sequence ", i, " has ", length, " tokens from byte ", first, " on, but '", data_.path().string(),
            "' has only ", data_bytes, " bytes");
  }
  uint64_t previous = 0;
  for (uint64_t i = 0; i < num_starts; ++i) {
    const auto start = index_at<uint64_t>(kHeaderBytes + 12 * num_sequences + 8 * i);
    require(start >= previous && start <= num_sequences, "document ", i, " starts at sequence ", start,
            ", expected ascending starts up to ", num_sequences);
    previous = start;
  }
}

void MegatronFile::read(int64_t document, std::vector<int64_t>& ids) const {
  data_.require_same_size();
  index_.require_same_size();
  const auto n = static_cast<uint64_t>(num_sequences_);
  const uint64_t starts = kHeaderBytes + 12 * n + 8 * static_cast<uint64_t>(document);
  for (auto i = index_at<uint64_t>(starts); i < index_at<uint64_t>(starts + 8); ++i) {
    const auto length = index_at<int32_t>(kHeaderBytes + 4 * i);
    const std::byte* source = data_.bytes().data() + index_at<int64_t>(kHeaderBytes + 4 * n + 8 * i);
    for (int32_t t = 0; t < length; ++t) {
      uint64_t bits = 0;
      std::memcpy(&bits, source + t * width_, static_cast<size_t>(width_));
      const bool is_negative = is_signed_ && (bits >> (8 * width_ - 1)) != 0;
      base::require<DataError>(!is_negative, "token ", t, " of sequence ", i, " is negative");
      ids.push_back(static_cast<int64_t>(bits));
    }
  }
}

}  // namespace rosa::training
