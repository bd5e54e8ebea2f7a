#include "bench/sequences.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>

namespace rosa::bench {
namespace {

using Random = std::mt19937_64;

// Headers and sources of the repository, one after the other.
const std::string& text() {
  static const std::string all = [] {
    std::vector<std::filesystem::path> paths;
    for (const char* room : {"base", "rosa", "tests"}) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(ROSA_SOURCE_DIR "/") + room)) {
        const auto extension = entry.path().extension();
        if (extension == ".h" || extension == ".cpp") paths.push_back(entry.path());
      }
    }
    std::sort(paths.begin(), paths.end());
    std::string bytes;
    for (const auto& path : paths) {
      std::ifstream file(path, std::ios::binary);
      bytes.append(std::istreambuf_iterator<char>(file), {});
    }
    return bytes;
  }();
  return all;
}

// Cuts bytes into symbols of `bits` bits, the lowest first.
Symbols text_symbols(int64_t size, int bits, Random& random) {
  const int64_t num_bytes = (size * bits + 7) / 8;
  const auto text_size = static_cast<int64_t>(text().size());
  if (text_size < num_bytes) throw std::runtime_error("the text is too short");
  const int64_t first = static_cast<int64_t>(random() % static_cast<uint64_t>(text_size - num_bytes + 1));
  Symbols symbols(size);
  for (int64_t t = 0; t < size; ++t) {
    const int64_t bit = t * bits;
    symbols[t] = static_cast<uint8_t>(text()[first + bit / 8]) >> (bit % 8) & ((1 << bits) - 1);
  }
  return symbols;
}

Symbols periodic(int64_t size, int bits, int64_t period, uint64_t noise, Random& random) {
  const unsigned mask = (1u << bits) - 1;
  Symbols symbols(size);
  for (int64_t t = 0; t < size; ++t) {
    const bool fresh = t < period || (noise > 0 && random() % noise == 0);
    symbols[t] = fresh ? random() & mask : symbols[t - period];
  }
  // Two equal random symbols would be a constant.
  if (period == 2) {
    for (int64_t t = 0; t < size; ++t) symbols[t] = static_cast<uint8_t>(t % 2);
  }
  return symbols;
}

Symbols growing_zeros(int64_t size) {
  Symbols symbols;
  for (int64_t zeros = 1; static_cast<int64_t>(symbols.size()) < size; ++zeros) {
    symbols.resize(symbols.size() + zeros, 0);
    symbols.push_back(1);
  }
  symbols.resize(size);
  return symbols;
}

}  // namespace

const std::vector<std::string>& sequence_families() {
  static const std::vector<std::string> names{"uniform", "text",          "constant", "period2", "period100",
                                              "runs50",  "growing_zeros", "noisy100", "skewed"};
  return names;
}

Symbols make_sequence(const std::string& family, int64_t size, int bits, uint64_t seed) {
  Random random(seed);
  const unsigned mask = (1u << bits) - 1;
  if (family == "text") return text_symbols(size, bits, random);
  if (family == "constant") return Symbols(size, 1);
  if (family == "period2") return periodic(size, bits, 2, 0, random);
  if (family == "period7") return periodic(size, bits, 7, 0, random);
  if (family == "period100") return periodic(size, bits, 100, 0, random);
  if (family == "noisy100") return periodic(size, bits, 100, 50, random);
  if (family == "growing_zeros") return growing_zeros(size);
  Symbols symbols(size);
  for (int64_t t = 0; t < size; ++t) {
    if (family == "uniform") {
      symbols[t] = random() & mask;
    } else if (family == "runs50") {
      symbols[t] = t == 0 || random() % 50 == 0 ? random() & mask : symbols[t - 1];
    } else if (family == "skewed") {
      symbols[t] = random() % 10 == 0 ? random() & mask : 0;
    } else {
      throw std::runtime_error("no family is named " + family);
    }
  }
  return symbols;
}

}  // namespace rosa::bench
