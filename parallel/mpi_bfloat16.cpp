#include "parallel/mpi_bfloat16.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "parallel/mpi_error.h"

namespace rosa::parallel {
namespace {

float to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// To nearest, ties to even, without branches, so that the loops below become vector code.
uint16_t to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>(std::isnan(value) ? 0x7fc0u : rounded);
}

template <class Combine>
void combine(const void* in, void* in_out, int count, const Combine& of) {
  const auto* more = static_cast<const uint16_t*>(in);
  auto* into = static_cast<uint16_t*>(in_out);
  for (int i = 0; i < count; ++i) into[i] = to_bfloat16(of(to_float(into[i]), to_float(more[i])));
}

void add(void* in, void* in_out, int* count, MPI_Datatype*) {
  combine(in, in_out, *count, [](float a, float b) { return a + b; });
}
void largest(void* in, void* in_out, int* count, MPI_Datatype*) {
  combine(in, in_out, *count, [](float a, float b) { return a < b ? b : a; });
}
void smallest(void* in, void* in_out, int* count, MPI_Datatype*) {
  combine(in, in_out, *count, [](float a, float b) { return b < a ? b : a; });
}

MPI_Op make_operation(MPI_User_function* function) {
  MPI_Op operation = MPI_OP_NULL;
  check_mpi(MPI_Op_create(function, /*commute=*/1, &operation), "MPI_Op_create", "this process");
  return operation;
}

}  // namespace

MPI_Op bfloat16_operation(Reduction reduction) {
  static const MPI_Op kSum = make_operation(add);
  static const MPI_Op kLargest = make_operation(largest);
  static const MPI_Op kSmallest = make_operation(smallest);
  if (reduction == Reduction::max) return kLargest;
  if (reduction == Reduction::min) return kSmallest;
  return kSum;
}

}  // namespace rosa::parallel
