// Kind: a resumed run and any number of ranks see the same samples; every token of every source comes once an epoch.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "tests/support/temporary_folder.h"
#include "training/data/mixture_source.h"
#include "training/data/token_file_writer.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kLength = 4, kPerStep = 8;

class MixtureSourceTest : public ::testing::Test {
 protected:
  MixtureSourceTest() {
    config_.kind = DataKind::token_file;
    config_.sequence_length = kLength;
    // "a" has 10 sequences, "b" 40; the first token of a sequence says which it is.
    write("a", 0, 10);
    write("b", 1000, 40);
    config_.sources = {{.path = (folder_ / "a.tokens").string(), .weight = 1},
                       {.path = (folder_ / "b.tokens").string(), .weight = 3, .name = "second"}};
  }
  void write(const std::string& name, int64_t first_token, int64_t num_sequences, const TokenFileFacts& facts = {}) {
    TokenFileWriter writer(folder_ / (name + ".tokens"), 5000, facts);
    std::vector<int64_t> tokens;
    for (int64_t i = 0; i < num_sequences * kLength; ++i) tokens.push_back(first_token + i);
    writer.add_document(tokens);
    writer.finish();
  }
  std::unique_ptr<DataSource> source(uint64_t seed = 1) const {
    return make_data_source(config_, DataSplit::train, seed, kPerStep);
  }

  rosa::testing::TemporaryFolder folder_;
  DataConfig config_;
};

TEST_F(MixtureSourceTest, EachSourceGivesItsShareAndGoesThroughItsEpochs) {
  const auto data = source();
  EXPECT_THAT(data->source_names(), ElementsAre("a", "second"));
  EXPECT_EQ(data->vocabulary_size(), 5000);
  constexpr int64_t kSteps = 1024;  // two blocks of the order
  std::map<int64_t, int64_t> seen;  // first token to how often
  std::vector<int64_t> counts(2, 0);
  for (int64_t step = 0; step < kSteps; ++step) {
    const Batch batch = data->batch(step, 0, kPerStep);
    for (int64_t row = 0; row < kPerStep; ++row) {
      const auto first = batch.input_ids[row][0].item<int64_t>(), number = batch.sources[row].item<int64_t>();
      ASSERT_EQ(number, first >= 1000 ? 1 : 0);
      ++counts[static_cast<size_t>(number)];
      ++seen[first];
    }
  }
  EXPECT_THAT(counts, ElementsAre(kSteps * kPerStep / 4, kSteps * kPerStep * 3 / 4));
  EXPECT_EQ(seen.size(), 50u);
  // No sequence comes twice in an epoch: all were seen equally often, but for the epoch under way.
  const std::vector<double> epochs = data->source_epochs(kSteps);
  EXPECT_DOUBLE_EQ(epochs[0], counts[0] / 10.0);
  EXPECT_DOUBLE_EQ(epochs[1], counts[1] / 40.0);
  for (const auto& [first, times] : seen) {
    EXPECT_NEAR(static_cast<double>(times), epochs[first >= 1000 ? 1 : 0], 1.0) << first;
  }
}

TEST_F(MixtureSourceTest, AStepIsAFunctionOfSeedAndStepHoweverItIsSharedOut) {
  const Batch whole = source()->batch(100'000'007, 0, kPerStep);
  const Batch part = source()->batch(100'000'007, 5, 2);
  EXPECT_TRUE(part.input_ids.equal(whole.input_ids.narrow(0, 5, 2)));
  EXPECT_TRUE(part.sources.equal(whole.sources.narrow(0, 5, 2)));
  EXPECT_FALSE(source(2)->batch(100'000'007, 0, kPerStep).input_ids.equal(whole.input_ids));
  EXPECT_THROW(source()->batch(0, 7, 2), base::ArgumentError);
}

TEST_F(MixtureSourceTest, EveryStageCountsAnew) {
  config_.curriculum_until = {6};
  config_.curriculum_sequence_lengths = {2};
  const auto data = source();
  EXPECT_EQ(data->batch(5, 0, 1).input_ids.size(1), 2);
  EXPECT_EQ(data->batch(6, 0, 1).input_ids.size(1), kLength);
  const std::vector<double> before = data->source_epochs(6), after = data->source_epochs(7);
  // Sequences of half the length are twice as many.
  EXPECT_NEAR(before[0] * 20 + before[1] * 80, 6 * kPerStep, 1e-9);
  EXPECT_NEAR((after[0] - before[0]) * 10 + (after[1] - before[1]) * 40, kPerStep, 1e-9);
}

TEST_F(MixtureSourceTest, WhereOneSourceHasAMaskTheOthersCount) {
  TokenFileWriter writer(folder_ / "a.tokens", 5000, {.has_loss_mask = true});
  writer.add_document(std::vector<int64_t>(40, 7), std::vector<uint8_t>(40, 0));
  writer.finish();
  const Batch batch = source()->batch(0, 0, kPerStep);
  ASSERT_TRUE(batch.loss_mask.defined());
  for (int64_t row = 0; row < kPerStep; ++row) {
    EXPECT_EQ(batch.loss_mask[row].all().item<bool>(), batch.sources[row].item<int64_t>() == 1) << row;
    EXPECT_EQ(batch.loss_mask[row].any().item<bool>(), batch.sources[row].item<int64_t>() == 1) << row;
  }
}

TEST_F(MixtureSourceTest, FilesOfDifferentTokenizersAreRefused) {
  write("a", 0, 10, {.tokenizer = TokenizerMark{.name = "one", .fingerprint = 1}});
  EXPECT_EQ(source()->tokenizer()->name, "one");  // b's is unknown
  write("b", 0, 10, {.tokenizer = TokenizerMark{.name = "two", .fingerprint = 2}});
  try {
    source();
    FAIL() << "no error";
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), ::testing::AllOf(HasSubstr("a.tokens"), HasSubstr("'one'"), HasSubstr("b.tokens"),
                                               HasSubstr("'two'"), HasSubstr("data.accept_other_tokenizer")));
  }
  config_.accept_other_tokenizer = true;
  EXPECT_NO_THROW(source());
}

TEST_F(MixtureSourceTest, FingerprintAndContentFollowFilesAndWeights) {
  const std::string fingerprint = source()->fingerprint(), content = source()->content();
  EXPECT_EQ(source()->fingerprint(), fingerprint);
  config_.sources[1].weight = 2;
  EXPECT_NE(source()->fingerprint(), fingerprint);
  EXPECT_EQ(source()->content(), content);
  write("b", 1, 40);
  EXPECT_NE(source()->content(), content);
}

TEST_F(MixtureSourceTest, RulesOfSourcesNameTheKey) {
  const auto problems_of = [](const DataConfig& config) {
    base::ConfigProblems problems;
    problems.section("data", config);
    std::string text;
    for (const auto& problem : problems.all()) text += problem.keys.front() + ": " + problem.text + "\n";
    return text;
  };
  EXPECT_EQ(problems_of(config_), "");
  DataConfig config = config_;
  config.kind = DataKind::crops;
  EXPECT_THAT(problems_of(config), HasSubstr("data.sources: needs kind token_file"));
  config = config_;
  config.train_path = "x";
  EXPECT_THAT(problems_of(config), HasSubstr("data.sources: stands in the place of data.train_path"));
  config = config_;
  config.sources[0].path = "";
  EXPECT_THAT(problems_of(config), HasSubstr("an entry without a path"));
  config = config_;
  config.sources[0].name = "second";
  EXPECT_THAT(problems_of(config), HasSubstr("two entries called 'second'"));
  config = config_;
  config.sources[0].weight = 0;
  EXPECT_THAT(problems_of(config), HasSubstr("'a' has the weight 0"));
}

}  // namespace
}  // namespace rosa::training
