#include "tests/rosa/kernels/long_sequences.h"

#include <gtest/gtest.h>

namespace rosa::kernels {
namespace {

using testing::long_case;

TEST(LongSequences, SufaDoesNotDrift) {
  for (const char* input : {"random", "saturated"}) testing::check_long_sufa(long_case(input, 16384));
  // The sums along these diagonals are as long as they get.
  for (const char* input : {"saturated", "runs"}) testing::check_long_sufa(long_case(input, 65536, 300));
}

TEST(LongSequences, SoftRosaDoesNotDrift) {
  for (const char* input : {"random", "saturated", "runs"}) testing::check_long_soft_rosa(long_case(input, 3000));
  testing::check_long_soft_rosa(long_case("saturated", 16384, 100));
}

}  // namespace
}  // namespace rosa::kernels
