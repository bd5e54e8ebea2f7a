#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "training/data/crop_source.h"

namespace rosa::training {
namespace {

class CropTest : public ::testing::Test {
 protected:
  CropTest() {
    for (int i = 0; i < 500; ++i) text_ += static_cast<char>('a' + i * i % 23);
    base::write_file_atomically(folder_ / "text.txt", text_);
    config_.kind = DataKind::crops;
    config_.train_path = config_.held_out_path = folder_ / "text.txt";
    config_.sequence_length = 64;
  }
  rosa::testing::TemporaryFolder folder_;
  std::string text_;
  DataConfig config_;
};

TEST_F(CropTest, CropsOfTheText) {
  const auto source = make_data_source(config_, DataSplit::train, 1, 32);
  const Batch batch = source->batch(0, 0, 32);
  std::set<size_t> places;
  for (int64_t row = 0; row < 32; ++row) {
    std::string crop;
    for (int64_t t = 0; t < 64; ++t) crop += static_cast<char>(batch.input_ids[row][t].item<int64_t>());
    places.insert(text_.find(crop));
  }
  EXPECT_EQ(places.count(std::string::npos), 0u);
  EXPECT_GT(places.size(), 5u);
  EXPECT_TRUE(batch.labels.equal(batch.input_ids));
  EXPECT_FALSE(batch.recallable.defined());
  EXPECT_TRUE(source->batch(0, 3, 2).input_ids.equal(batch.input_ids.narrow(0, 3, 2)));
  EXPECT_FALSE(source->batch(1, 0, 32).input_ids.equal(batch.input_ids));
  EXPECT_FALSE(make_data_source(config_, DataSplit::held_out, 1, 32)->batch(0, 0, 32).input_ids.equal(batch.input_ids));
}

TEST_F(CropTest, TheWholeTextMayBeOneCrop) {
  config_.sequence_length = 500;
  EXPECT_EQ(make_data_source(config_, DataSplit::train, 1, 1)->batch(0, 0, 1).input_ids[0][0].item<int64_t>(), 'a');
  config_.sequence_length = 501;
  EXPECT_THROW(make_data_source(config_, DataSplit::train, 1, 1), base::DataError);
}

TEST_F(CropTest, FingerprintFollowsTheContent) {
  const std::string before = make_data_source(config_, DataSplit::train, 1, 1)->fingerprint();
  text_[250] = '.';
  base::write_file_atomically(folder_ / "text.txt", text_);
  EXPECT_NE(make_data_source(config_, DataSplit::train, 1, 1)->fingerprint(), before);
}

TEST_F(CropTest, TheShippedTextsServe) {
  const std::string folder = ROSA_SOURCE_DIR "/demo/text/";
  for (const std::string kind : {"prose", "code"}) {
    config_.train_path = folder + kind + "_train.txt";
    config_.held_out_path = folder + kind + "_heldout.txt";
    for (DataKind data_kind : {DataKind::crops, DataKind::lines}) {
      config_.kind = data_kind;
      config_.sequence_length = 256;
      for (DataSplit split : {DataSplit::train, DataSplit::held_out}) {
        const Batch batch = make_data_source(config_, split, 1, 4)->batch(0, 0, 4);
        EXPECT_LT(batch.input_ids.max().item<int64_t>(), 128);
      }
    }
  }
}

}  // namespace
}  // namespace rosa::training
