#include "rosa/kernels/pack_bits.h"

#include "rosa/kernels/pack_bits_row.h"

namespace rosa::kernels {
namespace {

// Calls body(offset of the row, number of the row) for every row.
template <class Body>
void for_each_row(const LogitLayout& layout, const Body& body) {
  int64_t row = 0;
  for (int64_t outer = 0; outer < layout.outer_size; ++outer) {
    for (int64_t middle = 0; middle < layout.middle_size; ++middle) {
      const int64_t offset = outer * layout.outer_stride + middle * layout.middle_stride;
      for (int64_t inner = 0; inner < layout.inner_size; ++inner) body(offset + inner * layout.inner_stride, row++);
    }
  }
}

}  // namespace

template <class Logit, class Symbol>
void pack_bits(const Logit* logits, const LogitLayout& layout, Symbol* symbols) {
  for_each_row(layout, [&](int64_t offset, int64_t row) {
    symbols[row] = static_cast<Symbol>(pack_row(logits + offset, layout.num_bits, layout.bit_stride));
  });
}

template <class Symbol, class Value>
void unpack_bits(const Symbol* symbols, const LogitLayout& layout, Value* bits) {
  for_each_row(layout, [&](int64_t offset, int64_t row) {
    unpack_row(static_cast<uint64_t>(symbols[row]), bits + offset, layout.num_bits, layout.bit_stride);
  });
}

template void pack_bits(const float*, const LogitLayout&, uint8_t*);
template void pack_bits(const float*, const LogitLayout&, int64_t*);
template void pack_bits(const double*, const LogitLayout&, uint8_t*);
template void pack_bits(const double*, const LogitLayout&, int64_t*);
template void unpack_bits(const uint8_t*, const LogitLayout&, float*);
template void unpack_bits(const uint8_t*, const LogitLayout&, double*);
template void unpack_bits(const int64_t*, const LogitLayout&, float*);
template void unpack_bits(const int64_t*, const LogitLayout&, double*);

}  // namespace rosa::kernels
