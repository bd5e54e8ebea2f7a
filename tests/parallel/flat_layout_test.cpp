// Where gradients lie: every element has one place and one owner, and no norm block is torn.
#include "parallel/flat_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "parallel/reduction_config.h"

namespace rosa::parallel {
namespace {

struct Case {
  std::vector<int64_t> sizes;
  int64_t bucket_elements;
  int world_size;
};

std::vector<size_t> reversed(size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.rbegin(), order.rend(), size_t{0});
  return order;
}

std::vector<Case> cases() {
  const std::vector<std::vector<int64_t>> sizes = {
      {1}, {4096}, {4097}, {5, 7, 4090, 3, 4096, 9000, 1, 100000}, std::vector<int64_t>(300, 33), {8192, 8192, 8192}};
  std::vector<Case> cases;
  for (const auto& list : sizes) {
    for (const int64_t bucket : {1, 4096, 10000, 1 << 20}) {
      for (const int ranks : {1, 2, 3, 4, 7}) cases.push_back({list, bucket, ranks});
    }
  }
  return cases;
}

TEST(FlatLayout, PlacesEveryElementOnceInBucketsOfWholeSlots) {
  for (const Case& c : cases()) {
    const FlatLayout layout(c.sizes, reversed(c.sizes.size()), c.bucket_elements, c.world_size);
    std::vector<int> used(static_cast<size_t>(layout.length()), 0);
    for (size_t tensor = 0; tensor < c.sizes.size(); ++tensor) {
      const FlatRange& bucket = layout.bucket(layout.bucket_of(tensor));
      EXPECT_GE(layout.offset(tensor), bucket.begin);
      EXPECT_LE(layout.offset(tensor) + c.sizes[tensor], bucket.end);
      for (int64_t i = 0; i < c.sizes[tensor]; ++i) ++used[static_cast<size_t>(layout.offset(tensor) + i)];
    }
    EXPECT_EQ(std::accumulate(used.begin(), used.end(), int64_t{0}),
              std::accumulate(c.sizes.begin(), c.sizes.end(), int64_t{0}));
    EXPECT_EQ(*std::max_element(used.begin(), used.end()), 1);
    int64_t end = 0;
    size_t num_members = 0;
    for (size_t bucket = 0; bucket < layout.num_buckets(); ++bucket) {
      EXPECT_EQ(layout.bucket(bucket).begin, end);
      end = layout.bucket(bucket).end;
      EXPECT_EQ(layout.bucket(bucket).size() % (kNormBlock * c.world_size), 0);
      EXPECT_FALSE(layout.tensors_of(bucket).empty());
      num_members += layout.tensors_of(bucket).size();
    }
    EXPECT_EQ(end, layout.length());
    EXPECT_EQ(num_members, c.sizes.size());
  }
}

TEST(FlatLayout, BucketsFollowThePlacementAndKeepToTheirSize) {
  const FlatLayout layout({100, 5000, 4096, 200, 90000}, {3, 1, 4, 0, 2}, 10000, 2);
  ASSERT_EQ(layout.num_buckets(), 3u);
  EXPECT_EQ(layout.tensors_of(0), (std::vector<size_t>{3, 1}));
  EXPECT_EQ(layout.tensors_of(1), (std::vector<size_t>{4})) << "larger than a bucket: alone";
  EXPECT_EQ(layout.tensors_of(2), (std::vector<size_t>{0, 2}));
}

TEST(FlatLayout, PartsShareOutEveryElementAndTearNoBlock) {
  for (const Case& c : cases()) {
    const FlatLayout layout(c.sizes, reversed(c.sizes.size()), c.bucket_elements, c.world_size);
    std::vector<std::vector<int>> owners;
    for (const int64_t size : c.sizes) owners.emplace_back(static_cast<size_t>(size), -1);
    for (int rank = 0; rank < c.world_size; ++rank) {
      size_t last = 0;
      for (const TensorPiece& piece : layout.pieces_of_rank(rank)) {
        EXPECT_GE(piece.tensor, last) << "in the order of the tensors";
        last = piece.tensor;
        EXPECT_EQ(piece.begin % kNormBlock, 0);
        EXPECT_TRUE(piece.end % kNormBlock == 0 || piece.end == c.sizes[piece.tensor]);
        EXPECT_EQ(piece.offset, layout.offset(piece.tensor) + piece.begin);
        for (int64_t i = piece.begin; i < piece.end; ++i) {
          EXPECT_EQ(owners[piece.tensor][static_cast<size_t>(i)], -1);
          owners[piece.tensor][static_cast<size_t>(i)] = rank;
        }
      }
    }
    for (const auto& of_tensor : owners) EXPECT_GE(*std::min_element(of_tensor.begin(), of_tensor.end()), 0);
  }
}

TEST(FlatLayout, RefusesWhatIsNoLayout) {
  EXPECT_THROW(FlatLayout({}, {}, 1, 1), base::ArgumentError);
  EXPECT_THROW(FlatLayout({1, 2}, {0}, 1, 1), base::ArgumentError);
  EXPECT_THROW(FlatLayout({1, 2}, {0, 0}, 1, 1), base::ArgumentError);
  EXPECT_THROW(FlatLayout({1, 0}, {0, 1}, 1, 1), base::ArgumentError);
  EXPECT_THROW(FlatLayout({1}, {0}, 1, 0), base::ArgumentError);
}

TEST(ParallelConfig, AutoIsDeterministicOnCpusAndFastOnGpus) {
  ParallelConfig config;
  EXPECT_EQ(reduction_mode(config, false), ReductionMode::deterministic);
  EXPECT_EQ(reduction_mode(config, true), ReductionMode::fast);
  config.reduction = "deterministic";
  EXPECT_EQ(reduction_mode(config, true), ReductionMode::deterministic);
  config.reduction = "fast";
  EXPECT_EQ(reduction_mode(config, false), ReductionMode::fast);
  config.wire_dtype = "bfloat16";
  EXPECT_EQ(reduction_mode(config, false), ReductionMode::fast);
  config.reduction = "auto";
  EXPECT_THROW(reduction_mode(config, false), base::ConfigError);
}

}  // namespace
}  // namespace rosa::parallel
