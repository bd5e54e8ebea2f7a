// Passages that are repeated in training sequences.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "training/data/repeated_source.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kLength = 64;

// Every token is another: what stands twice was repeated.
class DistinctTokens : public DataSource {
 public:
  // Documents of 40 and the rest; the last 8 positions are padding; labels of tokens divisible by 5 do not count.
  explicit DistinctTokens(bool is_plain) : is_plain_(is_plain) {}
  Batch batch(int64_t step, int64_t first, int64_t count) const override {
    Batch batch;
    batch.input_ids = at::arange(count * kLength).reshape({count, kLength}) + 10000 * step + first * kLength;
    batch.labels = batch.input_ids.clone();
    if (is_plain_) return batch;
    batch.labels.masked_fill_(batch.input_ids.remainder(5).eq(0), kIgnoredLabel);
    batch.documents = at::arange(kLength).ge(40).to(at::kLong).expand({count, kLength});
    batch.padding = at::arange(kLength).ge(kLength - 8).expand({count, kLength});
    return batch;
  }
  int64_t vocabulary_size() const override { return 1 << 20; }
  std::string fingerprint() const override { return "distinct"; }
  std::string content() const override { return "none"; }

 private:
  bool is_plain_;
};

DataConfig config(double share, int64_t least = 4, int64_t most = 9) {
  DataConfig config;
  config.repeat_share = share;
  config.repeat_min_tokens = least;
  config.repeat_max_tokens = most;
  return config;
}

RepeatedSource repeated(const DataConfig& config, bool is_plain = true, uint64_t seed = 1) {
  return {std::make_unique<DistinctTokens>(is_plain), config, seed};
}

struct Passage {
  int64_t first = -1, again = -1, count = 0;
};

// Expects at most one, whole.
Passage passage_of(const at::Tensor& ids, const at::Tensor& before) {
  Passage passage;
  for (int64_t t = 0; t < kLength; ++t) {
    const int64_t id = ids[t].item<int64_t>();
    if (id == before[t].item<int64_t>()) continue;
    const int64_t source = id - before[0].item<int64_t>();
    if (passage.count == 0) passage = {source, t, 0};
    EXPECT_EQ(source, passage.first + passage.count);
    EXPECT_EQ(t, passage.again + passage.count);
    ++passage.count;
  }
  return passage;
}

TEST(RepeatedSource, APassageComesAgainFurtherOn) {
  const RepeatedSource source = repeated(config(1.0));
  const Batch before = DistinctTokens(true).batch(3, 0, 200), after = source.batch(3, 0, 200);
  std::set<int64_t> counts, distances;
  for (int64_t row = 0; row < 200; ++row) {
    const Passage passage = passage_of(after.input_ids[row], before.input_ids[row]);
    ASSERT_GE(passage.count, 4);
    ASSERT_LE(passage.count, 9);
    ASSERT_GE(passage.first, 0);
    ASSERT_GE(passage.again - passage.first, passage.count) << "the two do not overlap";
    ASSERT_LE(passage.again + passage.count, kLength);
    counts.insert(passage.count);
    distances.insert(passage.again - passage.first);
  }
  EXPECT_EQ(counts.size(), 6u);
  EXPECT_GT(distances.size(), 25u);
  EXPECT_TRUE(after.labels.equal(after.input_ids));
}

TEST(RepeatedSource, IsAFunctionOfSeedStepAndSample) {
  const RepeatedSource source = repeated(config(0.5));
  const Batch whole = source.batch(2, 0, 100), part = source.batch(2, 40, 7);
  EXPECT_TRUE(part.input_ids.equal(whole.input_ids.narrow(0, 40, 7)));
  const Batch plain = DistinctTokens(true).batch(2, 0, 100);
  const int64_t changed = whole.input_ids.ne(plain.input_ids).any(1).sum().item<int64_t>();
  EXPECT_GT(changed, 30);
  EXPECT_LT(changed, 70);
  EXPECT_FALSE(repeated(config(0.5), true, 2).batch(2, 0, 100).input_ids.equal(whole.input_ids));
  EXPECT_TRUE(repeated(config(0.0)).batch(2, 0, 100).input_ids.equal(plain.input_ids));
  EXPECT_THAT(source.fingerprint(), HasSubstr("repeats 0.5 of 4 to 9 tokens"));
}

TEST(RepeatedSource, StaysInItsDocumentAndKeepsWhatDoesNotCount) {
  const RepeatedSource source = repeated(config(1.0), /*is_plain=*/false);
  const Batch before = DistinctTokens(false).batch(0, 0, 200), after = source.batch(0, 0, 200);
  int64_t in_second = 0;
  for (int64_t row = 0; row < 200; ++row) {
    const Passage passage = passage_of(after.input_ids[row], before.input_ids[row]);
    if (passage.count == 0) continue;
    const bool is_second = passage.first >= 40;
    in_second += is_second ? 1 : 0;
    ASSERT_LE(passage.again + passage.count, is_second ? kLength - 8 : 40);
  }
  EXPECT_GT(in_second, 10);
  EXPECT_TRUE(after.labels.eq(kIgnoredLabel).equal(before.labels.eq(kIgnoredLabel)));
  EXPECT_TRUE(after.labels.masked_select(after.labels.ne(kIgnoredLabel))
                  .equal(after.input_ids.masked_select(after.labels.ne(kIgnoredLabel))));
}

TEST(RepeatedSource, AShortDocumentGetsAShorterPassageOrNone) {
  const Batch after = repeated(config(1.0, 20, 60)).batch(0, 0, 50), before = DistinctTokens(true).batch(0, 0, 50);
  for (int64_t row = 0; row < 50; ++row) {
    const Passage passage = passage_of(after.input_ids[row], before.input_ids[row]);
    EXPECT_GE(passage.count, 20);
    EXPECT_LE(passage.count, kLength / 2);
  }
  EXPECT_TRUE(repeated(config(1.0, 33, 60)).batch(0, 0, 50).input_ids.equal(before.input_ids));
}

TEST(RepeatedSource, TrainingDataAloneIsChanged) {
  const rosa::testing::TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 500; ++i) text += static_cast<char>('a' + i * i % 23);
  base::write_file_atomically(folder / "text.txt", text);
  DataConfig crops = config(1.0);
  crops.kind = DataKind::crops;
  crops.train_path = crops.held_out_path = folder / "text.txt";
  crops.sequence_length = kLength;
  DataConfig plain = crops;
  plain.repeat_share = 0.0;
  const auto batch_of = [](const DataConfig& data, DataSplit split) {
    return make_data_source(data, split, 1, 8)->batch(0, 0, 8).input_ids;
  };
  EXPECT_FALSE(batch_of(crops, DataSplit::train).equal(batch_of(plain, DataSplit::train)));
  EXPECT_TRUE(batch_of(crops, DataSplit::held_out).equal(batch_of(plain, DataSplit::held_out)));
  EXPECT_EQ(make_data_source(crops, DataSplit::train, 1, 8)->content(),
            make_data_source(plain, DataSplit::train, 1, 8)->content());
  crops.kind = DataKind::lines;
  EXPECT_THROW(make_data_source(crops, DataSplit::train, 1, 8), base::ConfigError);
  crops.kind = DataKind::crops;
  crops.repeat_min_tokens = 10;
  EXPECT_THROW(make_data_source(crops, DataSplit::train, 1, 8), base::ConfigError);
  crops.repeat_min_tokens = crops.repeat_max_tokens = 40;
  EXPECT_THROW(make_data_source(crops, DataSplit::train, 1, 8), base::ConfigError);
}

}  // namespace
}  // namespace rosa::training
