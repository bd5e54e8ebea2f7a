#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "training/data/token_file_writer.h"
#include "training/data/token_source.h"

namespace rosa::training {
namespace {

using Row = std::vector<int64_t>;
using ::testing::ElementsAre;

Row row_of(const at::Tensor& tensor, int64_t row) {
  const at::Tensor wide = tensor[row].to(at::kLong).contiguous();
  return {wide.const_data_ptr<int64_t>(), wide.const_data_ptr<int64_t>() + wide.numel()};
}

class TokenSourceTest : public ::testing::Test {
 protected:
  TokenSourceTest() {
    config_.kind = DataKind::token_file;
    config_.train_path = config_.held_out_path = folder_ / "tokens";
    config_.sequence_length = 8;
  }
  // Documents of these lengths; the tokens count on from 0.
  void write(const std::vector<int64_t>& lengths, int64_t vocabulary_size = 1000) {
    TokenFileWriter writer(folder_ / "tokens", vocabulary_size);
    int64_t next = 0;
    for (int64_t length : lengths) {
      Row document;
      for (int64_t i = 0; i < length; ++i) document.push_back(next++);
      writer.add_document(document);
    }
    writer.finish();
  }
  std::unique_ptr<DataSource> source(int64_t samples_per_step = 1, DataSplit split = DataSplit::train,
                                     uint64_t seed = 1) const {
    return make_data_source(config_, split, seed, samples_per_step);
  }

  rosa::testing::TemporaryFolder folder_;
  DataConfig config_;
};

TEST_F(TokenSourceTest, PackedSequencesCrossDocuments) {
  write({3, 1, 10, 6});  // 20 tokens: two sequences, four tokens left out
  const auto data = source(2);
  EXPECT_EQ(data->vocabulary_size(), 1000);
  const Batch batch = data->batch(0, 0, 2);
  EXPECT_FALSE(batch.padding.defined());
  const int64_t first = batch.input_ids[0][0].item<int64_t>() == 0 ? 0 : 1;
  EXPECT_THAT(row_of(batch.input_ids, first), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(row_of(batch.documents, first), ElementsAre(0, 0, 0, 1, 2, 2, 2, 2));
  EXPECT_THAT(row_of(batch.labels, first), ElementsAre(-100, 1, 2, -100, -100, 5, 6, 7));
  EXPECT_THAT(row_of(batch.input_ids, 1 - first), ElementsAre(8, 9, 10, 11, 12, 13, 14, 15));
  EXPECT_THAT(row_of(batch.documents, 1 - first), ElementsAre(0, 0, 0, 0, 0, 0, 1, 1));
  EXPECT_THAT(row_of(batch.labels, 1 - first), ElementsAre(8, 9, 10, 11, 12, 13, -100, 15));
}

TEST_F(TokenSourceTest, UnpackedSequencesEndWithTheirDocument) {
  write({3, 8, 10});
  config_.packed_documents = false;
  const Batch batch = source(4)->batch(0, 0, 4);
  EXPECT_FALSE(batch.documents.defined());
  std::map<int64_t, int64_t> rows;
  for (int64_t row = 0; row < 4; ++row) rows[batch.input_ids[row][0].item<int64_t>()] = row;
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_THAT(row_of(batch.input_ids, rows.at(0)), ElementsAre(0, 1, 2, 0, 0, 0, 0, 0));
  EXPECT_THAT(row_of(batch.labels, rows.at(0)), ElementsAre(0, 1, 2, -100, -100, -100, -100, -100));
  EXPECT_THAT(row_of(batch.padding, rows.at(0)), ElementsAre(0, 0, 0, 1, 1, 1, 1, 1));
  EXPECT_THAT(row_of(batch.labels, rows.at(3)), ElementsAre(3, 4, 5, 6, 7, 8, 9, 10));
  EXPECT_THAT(row_of(batch.padding, rows.at(3)), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(row_of(batch.input_ids, rows.at(11)), ElementsAre(11, 12, 13, 14, 15, 16, 17, 18));
  EXPECT_THAT(row_of(batch.input_ids, rows.at(19)), ElementsAre(19, 20, 0, 0, 0, 0, 0, 0));
}

// Two documents of 10 tokens whose odd tokens count.
void write_masked(const std::filesystem::path& path) {
  TokenFileWriter writer(path, 1000, {.has_loss_mask = true});
  for (int64_t first : {0, 10}) {
    Row document;
    std::vector<uint8_t> counts;
    for (int64_t token = first; token < first + 10; ++token) {
      document.push_back(token);
      counts.push_back(token % 2 == 1 ? 1 : 0);
    }
    writer.add_document(document, counts);
  }
  writer.finish();
}

TEST_F(TokenSourceTest, TokensThatTheMaskLeavesOutHaveNoLabel) {
  write_masked(folder_ / "tokens");
  const Batch batch = source(2)->batch(0, 0, 2);
  const int64_t second = batch.input_ids[0][0].item<int64_t>() == 8 ? 0 : 1;
  EXPECT_THAT(row_of(batch.input_ids, second), ElementsAre(8, 9, 10, 11, 12, 13, 14, 15));
  EXPECT_THAT(row_of(batch.labels, second), ElementsAre(-100, 9, -100, 11, -100, 13, -100, 15));
  EXPECT_THAT(row_of(batch.loss_mask, second), ElementsAre(0, 1, 0, 1, 0, 1, 0, 1));
  write({20});
  EXPECT_FALSE(source(2)->batch(0, 0, 2).loss_mask.defined());
}

TEST_F(TokenSourceTest, TheMaskIsFalseAtPadding) {
  write_masked(folder_ / "tokens");
  config_.packed_documents = false;
  const Batch batch = source(4)->batch(0, 0, 4);
  for (int64_t row = 0; row < 4; ++row) {
    const int64_t first = batch.input_ids[row][0].item<int64_t>();
    if (first != 18) continue;
    EXPECT_THAT(row_of(batch.labels, row), ElementsAre(-100, 19, -100, -100, -100, -100, -100, -100));
    EXPECT_THAT(row_of(batch.loss_mask, row), ElementsAre(0, 1, 0, 0, 0, 0, 0, 0));
    return;
  }
  FAIL() << "no row starts at 18";
}

TEST_F(TokenSourceTest, AnEpochShowsEachSequenceOnceAndTheNextShufflesAnew) {
  write({400, 400});
  const int64_t num_sequences = 100, per_step = 10;
  const auto data = source(per_step);
  std::vector<Row> epochs(3);
  for (int64_t step = 0; step < 30; ++step) {
    const Batch batch = data->batch(step, 0, per_step);
    for (int64_t row = 0; row < per_step; ++row) {
      epochs[static_cast<size_t>(step / 10)].push_back(batch.input_ids[row][0].item<int64_t>());
    }
  }
  for (const Row& epoch : epochs)
    EXPECT_EQ(std::set<int64_t>(epoch.begin(), epoch.end()).size(), size_t(num_sequences));
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
  EXPECT_FALSE(std::is_sorted(epochs[0].begin(), epochs[0].end()));
}

TEST_F(TokenSourceTest, AStepIsAFunctionOfSeedAndStep) {
  write({400, 400});
  const auto data = source(6);
  const Batch whole = data->batch(1000000007, 0, 6);
  EXPECT_TRUE(data->batch(1000000007, 4, 2).input_ids.equal(whole.input_ids.narrow(0, 4, 2)));
  EXPECT_TRUE(source(6)->batch(1000000007, 0, 6).input_ids.equal(whole.input_ids));
  EXPECT_FALSE(source(6, DataSplit::train, 2)->batch(1000000007, 0, 6).input_ids.equal(whole.input_ids));
  EXPECT_FALSE(source(6, DataSplit::held_out)->batch(1000000007, 0, 6).input_ids.equal(whole.input_ids));
  // Beyond the global batch lies the next step: only evaluation, which stays at step 0, may go there.
  EXPECT_THROW(data->batch(0, 5, 2), base::ArgumentError);
  EXPECT_NO_THROW(source(6, DataSplit::held_out)->batch(0, 50, 2));
}

TEST_F(TokenSourceTest, EveryStageStartsAnOrderOfItsOwn) {
  write({400, 400});
  config_.curriculum_until = {5};
  config_.curriculum_sequence_lengths = {4};
  const auto data = source(10);
  EXPECT_EQ(data->batch(4, 0, 10).input_ids.size(1), 4);
  std::set<int64_t> seen;
  for (int64_t step = 5; step < 15; ++step) {
    const Batch batch = data->batch(step, 0, 10);
    ASSERT_EQ(batch.input_ids.size(1), 8);
    for (int64_t row = 0; row < 10; ++row) seen.insert(batch.input_ids[row][0].item<int64_t>());
  }
  EXPECT_EQ(seen.size(), 100u);
}

TEST_F(TokenSourceTest, FilesThatDoNotFitAreRefused) {
  write({7});
  EXPECT_THROW(source(), base::DataError);  // shorter than a packed sequence
  write({20});
  config_.vocabulary_size = 999;
  EXPECT_THROW(source(), base::DataError);
  config_.vocabulary_size = 1000;
  EXPECT_NO_THROW(source());
  std::string bytes = base::read_file(folder_ / "tokens", 10000);
  bytes[64 + 2 * 3 + 1] = '\x7f';
  base::write_file_atomically(folder_ / "tokens", bytes);
  EXPECT_THROW(source(), base::DataError);
  config_.verify_tokens = false;
  EXPECT_THROW(source(2)->batch(0, 0, 2), base::DataError);
}

TEST_F(TokenSourceTest, FingerprintFollowsContentAndOrder) {
  write({20});
  const std::string before = source(2)->fingerprint();
  EXPECT_EQ(source(2)->fingerprint(), before);
  EXPECT_NE(source(1)->fingerprint(), before);
  EXPECT_NE(source(2, DataSplit::train, 9)->fingerprint(), before);
  write({21});
  EXPECT_NE(source(2)->fingerprint(), before);
}

}  // namespace
}  // namespace rosa::training
