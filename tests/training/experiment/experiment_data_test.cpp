#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "training/experiment/counting_data.h"
#include "training/experiment/recall_data.h"

namespace rosa::training {
namespace {

std::vector<int64_t> numbers_of(const std::string& text) {
  std::vector<int64_t> numbers;
  std::istringstream in(text);
  for (std::string number; std::getline(in, number, ',');) {
    if (!number.empty()) numbers.push_back(std::stoll(number));
  }
  return numbers;
}

TEST(CountingData, WritesConsecutiveNumbersAndCutsTheLast) {
  const at::Tensor tokens = counting_sequences(3, DataSplit::train, 7, 0, 200, 64);
  std::map<size_t, int> starts;  // by the digits of the first number
  for (int64_t row = 0; row < tokens.size(0); ++row) {
    const std::string text = counting_text(tokens[row]);
    ASSERT_EQ(text.front(), ',');
    ASSERT_EQ(text.size(), 64u);
    const std::vector<int64_t> numbers = numbers_of(text);
    ++starts[std::to_string(numbers.front()).size()];
    for (size_t i = 1; i < numbers.size(); ++i) {
      const std::string expected = std::to_string(numbers[i - 1] + 1);
      const std::string found = std::to_string(numbers[i]);
      if (i + 1 < numbers.size()) {
        EXPECT_EQ(found, expected);
      }
      EXPECT_EQ(expected.substr(0, found.size()), found);
    }
  }
  // One, two and three digits about equally often.
  ASSERT_EQ(starts.size(), 3u);
  for (const auto& [digits, count] : starts) EXPECT_GT(count, 40) << digits;
}

TEST(CountingData, AnySplitOfABatchGivesTheSameSamples) {
  const at::Tensor whole = counting_sequences(1, DataSplit::train, 5, 0, 6, 40);
  EXPECT_TRUE(at::equal(whole.narrow(0, 2, 3), counting_sequences(1, DataSplit::train, 5, 2, 3, 40)));
  EXPECT_FALSE(at::equal(whole, counting_sequences(1, DataSplit::train, 6, 0, 6, 40)));
  EXPECT_FALSE(at::equal(whole, counting_sequences(1, DataSplit::held_out, 5, 0, 6, 40)));
}

TEST(RecallData, EveryQuestionHasItsPairBefore) {
  ExperimentDataSection config;
  config.length = 96;
  const RecallBatch batch = recall_sequences(config, 2, DataSplit::train, 0, 0, 50);
  for (int64_t row = 0; row < 50; ++row) {
    const at::Tensor tokens = batch.tokens[row];
    int64_t num_tokens = 0;
    for (int64_t t = 0; t < config.length; ++t) num_tokens += tokens[t].item<int64_t>() != 0;
    EXPECT_EQ(num_tokens, 2 * config.num_pairs + config.num_queries);
    for (int64_t query = 0; query < config.num_queries; ++query) {
      const auto position = batch.positions[row][query].item<int64_t>();
      const int64_t key = tokens[position].item<int64_t>() - 1 - config.num_keys;
      ASSERT_GE(key, 0);
      ASSERT_LT(key, config.num_keys);
      const int64_t written = position - batch.distances[row][query].item<int64_t>();
      EXPECT_LT(written, config.length / 2);
      EXPECT_GE(position, config.length / 2);
      EXPECT_EQ(tokens[written].item<int64_t>(), 1 + key);
      EXPECT_EQ(tokens[written + 1].item<int64_t>(),
                1 + 2 * config.num_keys + batch.answers[row][query].item<int64_t>());
    }
  }
}

}  // namespace
}  // namespace rosa::training
