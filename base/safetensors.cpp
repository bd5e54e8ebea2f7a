#include "base/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/printable.h"

namespace rosa::base {
namespace {

using nlohmann::json;

// The bound of the reference implementation.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxDimensions = 64;

template <class... Parts>
[[noreturn]] void fail(const std::filesystem::path& path, const Parts&... parts) {
  throw DataError(
      concat("'", path.string(), "' is no valid safetensors file: ", parts..., "; copy or download it again"));
}

json parse_header(const std::filesystem::path& path, std::string_view text) {
  try {
    return parse_json(text, "header");
  } catch (const DataError& error) {
    fail(path, error.what());
  }
}

std::vector<int64_t> parse_integers(const std::filesystem::path& path, const std::string& full_name, const json& entry,
                                    const char* key) {
  const std::string name = excerpt(full_name);
  auto found = entry.find(key);
  if (found == entry.end() || !found->is_array()) fail(path, "tensor '", name, "' has no list '", key, "'");
  if (found->size() > kMaxDimensions) fail(path, "tensor '", name, "' has ", found->size(), " numbers in ", key);
  std::vector<int64_t> values;
  for (const json& value : *found) {
    if (!value.is_number_unsigned() ||
        value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      fail(path, "tensor '", name, "' has ", excerpt(value.dump()), " in ", key,
           ", expected a whole number from 0 to 2^63-1");
    }
    values.push_back(value.get<int64_t>());
  }
  return values;
}

// Bits of one element, or 0 for a name that safetensors does not know.
int64_t dtype_size_bits(std::string_view dtype) {
  static const std::map<std::string_view, int64_t> kBits = {
      {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6}, {"BOOL", 8},        {"U8", 8},      {"I8", 8},
      {"F8_E4M3", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E8M0", 8}, {"U16", 16},
      {"I16", 16},    {"F16", 16},        {"BF16", 16},   {"U32", 32},        {"I32", 32},    {"F32", 32},
      {"U64", 64},    {"I64", 64},        {"F64", 64},    {"C64", 64}};
  auto found = kBits.find(dtype);
  return found == kBits.end() ? 0 : found->second;
}

// The bytes of `shape` in elements of so many bits, or -1 where they do not fit 63 bits. -2: they are no whole bytes.
int64_t size_bytes(const std::vector<int64_t>& shape, int64_t element_bits) {
  // Zeros first: [2^62, 2^62, 0] is a valid empty tensor.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  __int128 bits = element_bits;
  for (int64_t extent : shape) {
    bits *= extent;
    if (bits / 8 > std::numeric_limits<int64_t>::max()) return -1;
  }
  return bits % 8 == 0 ? static_cast<int64_t>(bits / 8) : -2;
}

std::string show(const std::vector<int64_t>& shape) { return json(shape).dump(); }

TensorView parse_tensor(const std::filesystem::path& path, const std::string& full_name, const json& entry,
                        std::span<const std::byte> data) {
  const std::string name = excerpt(full_name);
  if (!entry.is_object()) fail(path, "tensor '", name, "' is not described by an object");
  TensorView tensor;
  auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) fail(path, "tensor '", name, "' has no dtype");
  tensor.dtype = dtype->get<std::string>();
  const int64_t element_bits = dtype_size_bits(tensor.dtype);
  if (element_bits == 0) fail(path, "tensor '", name, "' has the unknown dtype '", excerpt(tensor.dtype), "'");
  tensor.shape = parse_integers(path, name, entry, "shape");
  std::vector<int64_t> offsets = parse_integers(path, name, entry, "data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > static_cast<int64_t>(data.size())) {
    fail(path, "tensor '", name, "' has data_offsets ", show(offsets), ", expected [begin, end] within the ",
         data.size(), " bytes of data in the file (is it truncated?)");
  }
  int64_t expected = size_bytes(tensor.shape, element_bits);
  if (expected != offsets[1] - offsets[0]) {
    fail(path, "tensor '", name, "' of shape ", show(tensor.shape), " and dtype ", tensor.dtype, " has ",
         offsets[1] - offsets[0], " bytes, expected ",
         expected == -1   ? "more than 2^63"
         : expected == -2 ? "whole bytes"
                          : std::to_string(expected));
  }
  tensor.bytes = data.subspan(static_cast<size_t>(offsets[0]), static_cast<size_t>(expected));
  return tensor;
}

// The format asks that the tensors tile the data: neither overlaps nor holes in which something could hide.
void check_tiling(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                  std::span<const std::byte> data) {
  std::vector<std::pair<std::span<const std::byte>, const std::string*>> spans;
  for (const auto& [name, tensor] : tensors) spans.emplace_back(tensor.bytes, &name);
  std::sort(spans.begin(), spans.end(), [](const auto& left, const auto& right) {
    return std::pair(left.first.data(), left.first.size()) < std::pair(right.first.data(), right.first.size());
  });
  const std::byte* end = data.data();
  for (const auto& [bytes, name] : spans) {
    if (bytes.data() < end) fail(path, "tensor '", excerpt(*name), "' overlaps another one");
    if (bytes.data() > end)
      fail(path, "there are ", bytes.data() - end, " unused bytes before tensor '", excerpt(*name), "'");
    end = bytes.data() + bytes.size();
  }
  int64_t rest = static_cast<int64_t>(data.size()) - (end - data.data());
  if (rest != 0) fail(path, "there are ", rest, " unused bytes at its end");
}

}  // namespace

int64_t dtype_size_bytes(std::string_view dtype) {
  const int64_t bits = dtype_size_bits(dtype);
  return bits % 8 == 0 ? bits / 8 : 0;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  std::span<const std::byte> bytes = file_.bytes();
  if (bytes.size() < 8) fail(path, "it has ", bytes.size(), " bytes, expected at least 8");
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < 8; ++i) header_bytes |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  if (header_bytes > kMaxHeaderBytes) {
    fail(path, "its header claims ", header_bytes, " bytes, expected at most ", kMaxHeaderBytes);
  }
  if (header_bytes > bytes.size() - 8) {
    fail(path, "its header claims ", header_bytes, " bytes, but only ", bytes.size() - 8, " follow (is it truncated?)");
  }
  std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes);
  json header = parse_header(path, text);
  if (!header.is_object()) fail(path, "its header is no JSON object");
  std::span<const std::byte> data = bytes.subspan(8 + header_bytes);
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      tensors_.emplace(name, parse_tensor(path, name, entry, data));
      continue;
    }
    if (!entry.is_object()) fail(path, "its __metadata__ is no object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail(path, "its metadata '", excerpt(key), "' is no text");
      metadata_.emplace(key, value.get<std::string>());
    }
  }
  check_tiling(path, tensors_, data);
}

const TensorView& SafetensorsFile::at(const std::string& name) const {
  auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  auto next = tensors_.lower_bound(name);
  std::string near = next == tensors_.end()
                         ? (tensors_.empty() ? "none at all" : "'" + excerpt(tensors_.rbegin()->first) + "'")
                         : "'" + excerpt(next->first) + "'";
  throw DataError(concat("'", path().string(), "' holds no tensor '", name, "'; it holds ", tensors_.size(),
                         ", next in order: ", near));
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Larger elements first, so that every tensor is aligned to its element.
  std::vector<std::pair<int64_t, const std::string*>> order;
  for (const auto& [name, tensor] : tensors) {
    int64_t element_size = dtype_size_bytes(tensor.dtype);
    require(element_size > 0, "write_safetensors: tensor '", name, "' has the unknown dtype '", tensor.dtype, "'");
    bool negative = std::any_of(tensor.shape.begin(), tensor.shape.end(), [](int64_t extent) { return extent < 0; });
    require(!negative && size_bytes(tensor.shape, 8 * element_size) == static_cast<int64_t>(tensor.bytes.size()),
            "write_safetensors: tensor '", name, "' of shape ", show(tensor.shape), " and dtype ", tensor.dtype,
            " got ", tensor.bytes.size(), " bytes");
    require(name != "__metadata__", "write_safetensors: '__metadata__' is no name for a tensor");
    order.emplace_back(-element_size, &name);
  }
  std::sort(order.begin(), order.end(), [](const auto& left, const auto& right) {
    return std::tie(left.first, *left.second) < std::tie(right.first, *right.second);
  });
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const auto& [unused, name] : order) {
    const TensorView& tensor = tensors.at(*name);
    header[*name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>((text.size() >> (8 * i)) & 255);

  AtomicFile file(path);
  file.write(length);
  file.write(text);
  for (const auto& [unused, name] : order) file.write(tensors.at(*name).bytes);
  file.commit();
}

}  // namespace rosa::base
