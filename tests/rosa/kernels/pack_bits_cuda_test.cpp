// The CUDA kernels against the CPU, bit for bit; skipped where there is no GPU.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "rosa/kernels/pack_bits_device.h"
#include "rosa/kernels/pack_bits_row.h"
#include "tests/rosa/kernels/device_array.h"

namespace rosa::kernels {
namespace {

class PackBitsOnDevice : public testing::DeviceTest {};

template <class Value, class Symbol>
void check_all(int64_t num_bits, int64_t length) {
  const LogitLayout layout = {2, 3, length, num_bits, 3 * length * num_bits, num_bits, 3 * num_bits, 1};
  const size_t rows = static_cast<size_t>(num_rows(layout));
  std::vector<Value> logits(rows * static_cast<size_t>(num_bits));
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<Value>(std::sin(static_cast<double>(i * i)));
  logits[0] = std::nan("");

  std::vector<Symbol> symbols(rows);
  pack_bits(logits.data(), layout, symbols.data());
  const testing::DeviceArray<Value> device_logits(logits);
  const testing::DeviceArray<Symbol> device_symbols(std::vector<Symbol>(rows, 0));
  pack_bits_on_device(device_logits.data(), layout, device_symbols.data(), nullptr);
  EXPECT_EQ(device_symbols.to_host(), symbols);

  std::vector<Value> bits(logits.size());
  unpack_bits(symbols.data(), layout, bits.data());
  const testing::DeviceArray<Value> device_bits(std::vector<Value>(bits.size(), -1));
  unpack_bits_on_device(device_symbols.data(), layout, device_bits.data(), nullptr);
  EXPECT_EQ(device_bits.to_host(), bits);

  std::vector<Value> soft(logits.size());
  for (size_t i = 0; i < soft.size(); ++i) soft[i] = static_cast<Value>(0.5 + 0.5 * std::sin(static_cast<double>(i)));
  const Value alpha = static_cast<Value>(0.3);
  for (int64_t row = 0; row < num_rows(layout); ++row) {
    const int64_t offset = row_offset(layout, row);
    blend_row(static_cast<uint64_t>(symbols[static_cast<size_t>(row)]), soft.data() + offset, 1, alpha,
              bits.data() + offset, num_bits, 1);
  }
  const testing::DeviceArray<Value> device_soft(soft);
  blend_bits_on_device(device_symbols.data(), layout, device_soft.data(), alpha, layout, device_bits.data(), nullptr);
  EXPECT_EQ(device_bits.to_host(), bits);
}

TEST_F(PackBitsOnDevice, EqualsTheCpu) {
  for (const int64_t length : {1, 5, 1000}) {
    for (const int64_t num_bits : {1, 7, 8}) {
      check_all<float, uint8_t>(num_bits, length);
      check_all<double, uint8_t>(num_bits, length);
    }
    for (const int64_t num_bits : {9, 63}) {
      check_all<float, int64_t>(num_bits, length);
      check_all<double, int64_t>(num_bits, length);
    }
  }
}

TEST_F(PackBitsOnDevice, NothingToDo) {
  LogitLayout layout;
  layout.inner_size = 0;
  pack_bits_on_device<float, uint8_t>(nullptr, layout, nullptr, nullptr);
}

}  // namespace
}  // namespace rosa::kernels
