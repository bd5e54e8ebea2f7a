// What debug mode says of calls that differ, for groups of any size: no communicator is needed.
#include "parallel/collective_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/work.h"

namespace rosa::parallel {
namespace {

using testing::HasSubstr;
using testing::Not;

CollectiveCall all_reduce_of(int64_t count) {
  return {.operation = "all_reduce", .dtype = at::kFloat, .count = count, .reduction = Reduction::sum};
}

std::string difference_of(const std::vector<CollectiveCall>& calls, std::vector<int64_t> numbers = {}) {
  numbers.resize(calls.size(), 7);
  std::vector<std::vector<int64_t>> encoded;
  for (size_t rank = 0; rank < calls.size(); ++rank) {
    encoded.push_back(encode(calls[rank], numbers[rank], static_cast<int>(calls.size())));
  }
  return find_difference(encoded);
}

TEST(CollectiveCall, DescribesWhatIsSet) {
  EXPECT_EQ(describe({.operation = "barrier"}), "barrier");
  EXPECT_EQ(describe(all_reduce_of(4)), "all_reduce of Float, 4 elements, sum");
  EXPECT_EQ(describe({.operation = "broadcast", .dtype = at::kLong, .count = 0, .root = 2}),
            "broadcast of Long, 0 elements, root 2");
}

TEST(CollectiveCall, EqualCallsDoNotDiffer) {
  EXPECT_EQ(difference_of({all_reduce_of(4)}), "");
  EXPECT_EQ(difference_of({all_reduce_of(4), all_reduce_of(4), all_reduce_of(4)}), "");
}

TEST(CollectiveCall, NamesTheMinority) {
  const std::string text =
      difference_of({all_reduce_of(5), all_reduce_of(4), {.operation = "barrier"}, all_reduce_of(4)});
  EXPECT_THAT(text, HasSubstr("rank 0 called all_reduce of Float, 5 elements, sum as collective 7"));
  EXPECT_THAT(text, HasSubstr("rank 2 called barrier as collective 7"));
  EXPECT_THAT(text, HasSubstr("but ranks 1 and 3 called all_reduce of Float, 4 elements, sum as collective 7"));
}

TEST(CollectiveCall, InATieRankZeroIsRight) {
  EXPECT_THAT(difference_of({all_reduce_of(4), {.operation = "barrier"}}), HasSubstr("rank 1 called barrier"));
  EXPECT_THAT(difference_of({{.operation = "barrier"}, all_reduce_of(4)}), HasSubstr("but rank 0 called barrier"));
}

TEST(CollectiveCall, NamesAnotherSequenceNumber) {
  const std::string text = difference_of({all_reduce_of(4), all_reduce_of(4), all_reduce_of(4)}, {7, 6, 7});
  EXPECT_THAT(text, HasSubstr("rank 1 called all_reduce of Float, 4 elements, sum as collective 6"));
  EXPECT_THAT(text, HasSubstr("ranks 0 and 2 called"));
}

TEST(CollectiveCall, NamesThePairWhoseCountsDiffer) {
  // Rank r sends r + 1 elements to everybody; rank 2 expects one too many of rank 1.
  std::vector<CollectiveCall> calls(3);
  for (size_t rank = 0; rank < 3; ++rank) {
    calls[rank] = {.operation = "all_gather",
                   .dtype = at::kFloat,
                   .send_counts = std::vector<int64_t>(3, static_cast<int64_t>(rank) + 1),
                   .receive_counts = {1, 2, 3}};
  }
  EXPECT_EQ(difference_of(calls), "");
  calls[2].receive_counts[1] = 3;
  const std::string text = difference_of(calls);
  EXPECT_THAT(text, HasSubstr("rank 1 sends 2 elements to rank 2, which expects 3"));
  EXPECT_THAT(text, Not(HasSubstr("rank 0")));
}

TEST(RanksText, ReadsAsASentence) {
  EXPECT_EQ(ranks_text({2}), "rank 2");
  EXPECT_EQ(ranks_text({0, 3}), "ranks 0 and 3");
  EXPECT_EQ(ranks_text({0, 1, 3}), "ranks 0, 1 and 3");
}

}  // namespace
}  // namespace rosa::parallel
