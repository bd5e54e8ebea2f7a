// The tree over micro-batches, as far as it needs no communicator.
#include "parallel/micro_batch_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace rosa::parallel {
namespace {

using testing::HasSubstr;

TEST(OwnedMicroBatches, AreContiguousRuns) {
  EXPECT_EQ(owned_micro_batches(12, 0, 4), (std::pair<int64_t, int64_t>{0, 3}));
  EXPECT_EQ(owned_micro_batches(12, 3, 4), (std::pair<int64_t, int64_t>{9, 12}));
  EXPECT_EQ(owned_micro_batches(12, 0, 1), (std::pair<int64_t, int64_t>{0, 12}));
}

TEST(OwnedMicroBatches, ErrorListsWhatWouldWork) {
  try {
    owned_micro_batches(12, 0, 5);
    FAIL() << "expected an error";
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("12 micro-batches"));
    EXPECT_THAT(error.what(), HasSubstr("1, 2, 3, 4, 6, 12 ranks"));
    EXPECT_THAT(error.what(), HasSubstr("10 or 15 micro-batches"));
  }
  EXPECT_THROW(owned_micro_batches(0, 0, 1), base::ConfigError);
  EXPECT_THROW(owned_micro_batches(2, 0, 3), base::ConfigError);
}

TEST(MaximalSubtrees, AreAlignedCoverTheRunAndAreFew) {
  for (int64_t num_leaves = 1; num_leaves <= 200; ++num_leaves) {
    for (int64_t ranks = 1; ranks <= num_leaves; ++ranks) {
      if (num_leaves % ranks != 0) continue;
      const int64_t run = num_leaves / ranks;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        int64_t next = rank * run;
        const auto nodes = maximal_subtrees(rank * run, (rank + 1) * run);
        for (const TreeNode& node : nodes) {
          EXPECT_EQ(node.first, next);
          EXPECT_EQ(node.first % node.size, 0);
          next += node.size;
        }
        EXPECT_EQ(next, (rank + 1) * run);
        EXPECT_LE(static_cast<double>(nodes.size()), std::log2(static_cast<double>(num_leaves)) + 1);
      }
    }
  }
}

}  // namespace
}  // namespace rosa::parallel
