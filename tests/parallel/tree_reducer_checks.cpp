#include "tree_reducer_checks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "parallel/tree_reducer.h"

namespace rosa::parallel {
namespace {

// A gradient whose sum depends on the order of additions.
at::Tensor leaf(int64_t micro_batch, int64_t length, at::ScalarType type) {
  const at::Tensor index = at::arange(length, at::kDouble);
  return (at::sin(index * 1.7 + static_cast<double>(micro_batch) * 3.1) * std::pow(10.0, micro_batch % 5)).to(type);
}

// The fixed tree, spelt out: the sum of leaves [first, end) of a global batch as a recursion.
at::Tensor oracle(int64_t first, int64_t end, int64_t length, at::ScalarType type) {
  if (end - first == 1) return leaf(first, length, type);
  int64_t half = 1;
  while (half * 2 < end - first) half *= 2;
  return oracle(first, first + half, length, type) + oracle(first + half, end, length, type);
}

bool equal_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::ScalarType bits = a.scalar_type() == at::kFloat ? at::kInt : at::kLong;
  return at::equal(a.view(bits), b.view(bits));
}

void check_bits_at_12(Communicator& communicator) {
  for (const int64_t num_micro_batches : {12, 24, 36, 60}) {
    for (const int64_t length : {1, 2, 3, 5, 64, 1237}) {
      for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
        TreeReducer reducer(communicator, num_micro_batches);
        for (int step = 0; step < 2; ++step) {
          for (int64_t i = reducer.owned().first; i < reducer.owned().second; ++i) reducer.add(leaf(i, length, type));
          EXPECT_TRUE(equal_bits(reducer.finish(), oracle(0, num_micro_batches, length, type)))
              << num_micro_batches << " micro-batches of length " << length << ", step " << step;
        }
        EXPECT_LE(reducer.max_live_buffers(),
                  static_cast<int64_t>(std::log2(static_cast<double>(num_micro_batches))) + 1);
      }
    }
  }
}

void check_any_number(Communicator& communicator) {
  for (int64_t run = 1; run <= 9; ++run) {
    const int64_t num_micro_batches = run * communicator.world_size();
    TreeReducer reducer(communicator, num_micro_batches);
    for (int64_t i = reducer.owned().first; i < reducer.owned().second; ++i) reducer.add(leaf(i, 11, at::kFloat));
    EXPECT_TRUE(equal_bits(reducer.finish(), oracle(0, num_micro_batches, 11, at::kFloat))) << num_micro_batches;
  }
}

void check_misuse(Communicator& communicator) {
  TreeReducer reducer(communicator, communicator.world_size());
  EXPECT_THROW(reducer.finish(), base::ArgumentError);
  EXPECT_THROW(reducer.add(at::ones({2, 2})), base::ArgumentError);
  EXPECT_THROW(reducer.add(at::ones({2}, at::kLong)), base::ArgumentError);
  reducer.add(at::ones({2}));
  EXPECT_THROW(reducer.add(at::ones({2})), base::ArgumentError);
}

void check_ordered_sums(Communicator& communicator) {
  constexpr int64_t kNumMicroBatches = 12;
  std::vector<double> expected = {0, 0};
  std::vector<std::vector<double>> owned;
  const auto [first, end] = owned_micro_batches(kNumMicroBatches, communicator.rank(), communicator.world_size());
  for (int64_t i = 0; i < kNumMicroBatches; ++i) {
    const std::vector<double> values = {std::sin(static_cast<double>(i)) * std::pow(10.0, i), static_cast<double>(i)};
    for (size_t value = 0; value < 2; ++value) expected[value] += values[value];
    if (i >= first && i < end) owned.push_back(values);
  }
  EXPECT_EQ(sum_in_micro_batch_order(communicator, kNumMicroBatches, owned), expected);
}

}  // namespace

const std::vector<CommunicatorCheck>& tree_reducer_checks() {
  static const std::vector<CommunicatorCheck> kChecks = {
      {"tree_bits_at_12", check_bits_at_12},
      {"tree_any_number", check_any_number},
      {"tree_misuse", check_misuse},
      {"ordered_sums", check_ordered_sums},
  };
  return kChecks;
}

}  // namespace rosa::parallel
