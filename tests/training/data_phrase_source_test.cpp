#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "training/data/phrase_source.h"

namespace rosa::training {
namespace {

using Row = std::vector<int64_t>;

Row row_of(const at::Tensor& tensor, int64_t row) {
  const at::Tensor wide = tensor[row].to(at::kLong).contiguous();
  return {wide.const_data_ptr<int64_t>(), wide.const_data_ptr<int64_t>() + wide.numel()};
}

// The phrases of a sequence, with separators; the last may be cut.
std::vector<Row> split(const Row& tokens, int64_t separator) {
  std::vector<Row> phrases(1);
  for (int64_t token : tokens) {
    phrases.back().push_back(token);
    if (token == separator) phrases.emplace_back();
  }
  if (phrases.back().empty()) phrases.pop_back();
  return phrases;
}

// The header's definition once more, straight from the tokens, with no regard for speed.
std::vector<bool> recallable_by_definition(const Row& tokens, int64_t separator, size_t num_excluded,
                                           size_t pool_size) {
  std::vector<bool> result;
  const std::vector<Row> phrases = split(tokens, separator);
  for (size_t current = 0; current < phrases.size(); ++current) {
    const size_t excluded = std::min({num_excluded, pool_size - 1, current});
    const std::set<Row> last(phrases.begin() + static_cast<int64_t>(current - excluded),
                             phrases.begin() + static_cast<int64_t>(current));
    std::set<Row> possible;
    for (size_t earlier = 0; earlier < current; ++earlier) {
      if (last.count(phrases[earlier]) == 0) possible.insert(phrases[earlier]);
    }
    for (size_t place = 0; place < phrases[current].size(); ++place) {
      std::vector<Row> matching;
      for (const Row& phrase : possible) {
        if (std::equal(phrases[current].begin(), phrases[current].begin() + static_cast<int64_t>(place), phrase.begin(),
                       phrase.begin() + static_cast<int64_t>(std::min(place, phrase.size())))) {
          matching.push_back(phrase);
        }
      }
      // The current phrase is known if it is the one that matches to its end (or, cut short, begins like it).
      const bool is_current = matching.size() == 1 && matching[0].size() >= phrases[current].size() &&
                              std::equal(phrases[current].begin(), phrases[current].end(), matching[0].begin()) &&
                              (phrases[current].back() != separator || matching[0].size() == phrases[current].size());
      result.push_back(place >= 1 && is_current);
    }
  }
  return result;
}

class PhraseTest : public ::testing::Test {
 protected:
  PhraseTest() {
    std::string text;
    for (int i = 0; i < 3000; ++i) text += base::concat("word", i % 97, i % 5 == 0 ? "\n" : " ", "the ", i % 13, " ");
    base::write_file_atomically(folder_ / "train.txt", text);
    base::write_file_atomically(folder_ / "held_out.txt", "a quite different text that is kept for evaluation only " +
                                                              std::string("and has a few more words in it than these"));
    lines_.kind = DataKind::lines;
    lines_.train_path = folder_ / "train.txt";
    lines_.held_out_path = folder_ / "held_out.txt";
    phrases_.kind = DataKind::phrases;
    phrases_.sequence_length = 128;
  }
  rosa::testing::TemporaryFolder folder_;
  DataConfig lines_, phrases_;
};

TEST(RepeatPhrases, SmallExampleByHand) {
  // Three phrases, none of the last two again: from the fourth on the order is a rotation.
  const std::vector<Phrase> pool = {{1, 2, 0}, {1, 3, 0}, {4, 5, 0}};
  base::RandomStream random({1, 0, 0, 0, 0});
  const PhraseSequence sequence = repeat_phrases(pool, 18, 2, random);
  ASSERT_EQ(sequence.tokens.size(), 18u);
  EXPECT_TRUE(std::none_of(sequence.recallable.begin(), sequence.recallable.begin() + 10, [](bool x) { return x; }));
  EXPECT_TRUE(sequence.recallable[10]);
  EXPECT_TRUE(sequence.recallable[11]);
  EXPECT_FALSE(sequence.recallable[12]);
  EXPECT_TRUE(sequence.recallable[13]);
  EXPECT_TRUE(std::equal(sequence.tokens.begin(), sequence.tokens.begin() + 9, sequence.tokens.begin() + 9));
  // Without exclusion "1" leaves two phrases open, so what follows it is not determined.
  base::RandomStream again({1, 0, 0, 0, 0});
  const PhraseSequence open = repeat_phrases(pool, 300, 0, again);
  for (size_t t = 30; t < 300; t += 3) {
    EXPECT_EQ(open.recallable[t + 1], open.tokens[t] == 4) << t;
    EXPECT_TRUE(open.recallable[t + 2]) << t;
  }
}

TEST_F(PhraseTest, PhrasesAreAsDescribed) {
  const auto source = make_data_source(phrases_, DataSplit::train, 1, 8);
  EXPECT_EQ(source->vocabulary_size(), 65);
  const Batch batch = source->batch(3, 0, 8);
  EXPECT_EQ(batch.input_ids.sizes(), (at::IntArrayRef{8, 128}));
  EXPECT_TRUE(batch.labels.equal(batch.input_ids));
  EXPECT_FALSE(batch.loss_weights.defined());
  EXPECT_FALSE(batch.documents.defined());
  EXPECT_FALSE(batch.padding.defined());
  for (int64_t row = 0; row < 8; ++row) {
    std::vector<Row> phrases = split(row_of(batch.input_ids, row), 0);
    phrases.pop_back();
    EXPECT_LE(std::set<Row>(phrases.begin(), phrases.end()).size(), 4u);
    for (size_t i = 0; i < phrases.size(); ++i) {
      EXPECT_GE(phrases[i].size(), 9u);
      EXPECT_LE(phrases[i].size(), 17u);
      for (int64_t token : phrases[i]) EXPECT_LE(token, 64);
      for (size_t back = 1; back <= 2 && back <= i; ++back) EXPECT_NE(phrases[i], phrases[i - back]);
    }
  }
}

TEST_F(PhraseTest, LinesAreWordsOfTheText) {
  const auto source = make_data_source(lines_, DataSplit::train, 1, 8);
  EXPECT_EQ(source->vocabulary_size(), 128);
  std::string text = " " + base::read_file(lines_.train_path, 1 << 20) + " ";
  std::replace(text.begin(), text.end(), '\n', ' ');
  const Batch batch = source->batch(0, 0, 8);
  for (int64_t row = 0; row < 8; ++row) {
    std::vector<Row> phrases = split(row_of(batch.input_ids, row), '\n');
    phrases.pop_back();
    for (const Row& phrase : phrases) {
      const std::string words(phrase.begin(), phrase.end() - 1);
      EXPECT_GE(words.size(), 10u);
      EXPECT_LE(words.size(), 24u);
      EXPECT_NE(text.find(base::concat(" ", words, " ")), std::string::npos) << words;
    }
  }
}

TEST_F(PhraseTest, RecallableIsWhatTheHeaderDefines) {
  // A tiny alphabet makes phrases that share their beginnings.
  DataConfig config = phrases_;
  for (const auto& [alphabet, pool, excluded] : {std::tuple(64, 4, 2), {2, 6, 2}, {3, 5, 0}, {2, 3, 2}, {2, 2, 7}}) {
    config.alphabet_size = alphabet;
    config.pool_size = pool;
    config.num_excluded_phrases = excluded;
    config.min_phrase_length = 3;
    config.max_phrase_length = 5;
    const Batch batch = make_data_source(config, DataSplit::train, 5, 8)->batch(0, 0, 8);
    int64_t num_recallable = 0;
    for (int64_t row = 0; row < 8; ++row) {
      const Row tokens = row_of(batch.input_ids, row), mask = row_of(batch.recallable, row);
      const auto expected =
          recallable_by_definition(tokens, 0, static_cast<size_t>(excluded), static_cast<size_t>(pool));
      // The last phrase may be cut so short that the tokens do not tell which one it is.
      size_t known_end = tokens.size();
      while (known_end > 0 && tokens[known_end - 1] != 0) --known_end;
      for (size_t t = 0; t < known_end; ++t) EXPECT_EQ(mask[t] != 0, expected[t]) << t;
      num_recallable += std::count(mask.begin(), mask.end(), 1);
    }
    EXPECT_GT(num_recallable, 100);
    EXPECT_LT(num_recallable, 900);
  }
}

TEST_F(PhraseTest, SampleIsAFunctionOfSeedStepAndIndex) {
  for (const DataConfig& config : {phrases_, lines_}) {
    const auto source = make_data_source(config, DataSplit::train, 1, 8);
    const Batch whole = source->batch(7, 0, 8);
    const Batch part = source->batch(7, 5, 2);
    EXPECT_TRUE(part.input_ids.equal(whole.input_ids.narrow(0, 5, 2)));
    EXPECT_TRUE(part.recallable.equal(whole.recallable.narrow(0, 5, 2)));
    EXPECT_TRUE(make_data_source(config, DataSplit::train, 1, 8)->batch(7, 0, 8).input_ids.equal(whole.input_ids));
    EXPECT_FALSE(source->batch(8, 0, 8).input_ids.equal(whole.input_ids));
    EXPECT_FALSE(part.input_ids[0].equal(part.input_ids[1]));
    EXPECT_FALSE(make_data_source(config, DataSplit::train, 2, 8)->batch(7, 0, 8).input_ids.equal(whole.input_ids));
    const auto held_out = make_data_source(config, DataSplit::held_out, 1, 8);
    EXPECT_FALSE(held_out->batch(7, 0, 8).input_ids.equal(whole.input_ids));
    EXPECT_NE(held_out->fingerprint(), source->fingerprint());
    EXPECT_EQ(make_data_source(config, DataSplit::train, 1, 8)->fingerprint(), source->fingerprint());
    EXPECT_NE(make_data_source(config, DataSplit::train, 2, 8)->fingerprint(), source->fingerprint());
    EXPECT_THROW(source->batch(-1, 0, 1), base::ArgumentError);
  }
  // Fixed for all time, as everything that is trained on it: a change here changes every run.
  const Row tokens = row_of(make_data_source(phrases_, DataSplit::train, 1, 1)->batch(0, 0, 1).input_ids, 0);
  EXPECT_THAT(Row(tokens.begin(), tokens.begin() + 8), ::testing::ElementsAre(48, 62, 48, 35, 40, 42, 46, 43));
}

TEST_F(PhraseTest, CurriculumChangesLengthPoolAndWeights) {
  phrases_.unrecallable_weight = 0.5;
  phrases_.curriculum_until = {10, 20};
  phrases_.curriculum_sequence_lengths = {32, 64};
  phrases_.curriculum_pool_sizes = {2, 3};
  phrases_.curriculum_unrecallable_weights = {0.125, 1.0};
  const auto source = make_data_source(phrases_, DataSplit::train, 1, 2);
  EXPECT_EQ(source->batch(9, 0, 2).input_ids.size(1), 32);
  EXPECT_EQ(source->batch(10, 0, 2).input_ids.size(1), 64);
  EXPECT_EQ(source->batch(20, 0, 2).input_ids.size(1), 128);
  EXPECT_FALSE(source->batch(19, 0, 2).loss_weights.defined());
  const Batch first = source->batch(0, 0, 2);
  EXPECT_TRUE(first.loss_weights.equal(first.recallable.to(at::kFloat) * 0.875 + 0.125));
  EXPECT_EQ(source->batch(20, 0, 2).loss_weights.min().item<float>(), 0.5f);
  const auto held_out = make_data_source(phrases_, DataSplit::held_out, 1, 2);
  EXPECT_EQ(held_out->batch(0, 0, 2).input_ids.size(1), 128);
  EXPECT_FALSE(held_out->batch(0, 0, 2).loss_weights.defined());
}

TEST_F(PhraseTest, PoolsThatCannotBeFilledAreAnError) {
  phrases_.alphabet_size = 2;
  phrases_.pool_size = 3;
  phrases_.min_phrase_length = 1;
  phrases_.max_phrase_length = 1;
  EXPECT_THROW(make_data_source(phrases_, DataSplit::train, 1, 1), base::ConfigError);
}

}  // namespace
}  // namespace rosa::training
