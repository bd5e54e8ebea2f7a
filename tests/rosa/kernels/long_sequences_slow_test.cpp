// Minutes: every diagonal of 65536 positions.
#include <gtest/gtest.h>

#include "tests/rosa/kernels/long_sequences.h"

namespace rosa::kernels {
namespace {

using testing::long_case;

TEST(LongSequencesSlow, SufaAt65536) {
  for (const char* input : {"random", "saturated"}) testing::check_long_sufa(long_case(input, 65536));
}

TEST(LongSequencesSlow, SoftRosaAt16384) {
  for (const char* input : {"random", "saturated"}) testing::check_long_soft_rosa(long_case(input, 16384));
}

TEST(LongSequencesSlow, SoftRosaAt65536) { testing::check_long_soft_rosa(long_case("saturated", 65536)); }

}  // namespace
}  // namespace rosa::kernels
