#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "training/data/text_corpus.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

class TextCorpusTest : public ::testing::Test {
 protected:
  TextCorpus corpus(std::string_view text, int64_t vocabulary_size = 128) {
    base::write_file_atomically(folder_ / "text.txt", text);
    return TextCorpus(folder_ / "text.txt", vocabulary_size);
  }
  rosa::testing::TemporaryFolder folder_;
};

TEST_F(TextCorpusTest, RefusesWhatIsOutsideTheVocabulary) {
  EXPECT_EQ(corpus("caf\xc3\xa9", 256).text().size(), 5u);
  try {
    corpus("caf\xc3\xa9");
    ADD_FAILURE();
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("text.txt"));
    EXPECT_THAT(error.what(), HasSubstr("byte 195 at offset 3"));
  }
  EXPECT_THROW(corpus(""), base::DataError);
  EXPECT_THROW(TextCorpus(folder_ / "absent", 128), base::FileError);
}

TEST_F(TextCorpusTest, CropsAreWholeWordsOfTheLengthAskedFor) {
  const std::string flat = "Every crop starts with a word and ends with a word whatever white space there was between";
  std::string text = base::concat("  ", flat, "\n\n");
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ' && i % 3 == 0) text[i] = '\n';
  }
  const WordText words(corpus(text));
  base::RandomStream random({1, 0, 0, 0, 0});
  std::set<size_t> lengths;
  for (int i = 0; i < 500; ++i) {
    const std::string_view crop = words.random_words(random, 10, 24);
    ASSERT_GE(crop.size(), 10u);
    ASSERT_LE(crop.size(), 24u);
    lengths.insert(crop.size());
    EXPECT_THAT(base::concat(" ", flat, " "), HasSubstr(base::concat(" ", crop, " ")));
  }
  EXPECT_GT(lengths.size(), 10u);
}

TEST_F(TextCorpusTest, TextsWithoutSuchWordsAreAnError) {
  base::RandomStream random({1, 0, 0, 0, 0});
  EXPECT_THROW(WordText(corpus(" \n ")), base::DataError);
  EXPECT_THROW(WordText(corpus("short")).random_words(random, 10, 24), base::DataError);
  EXPECT_THROW(WordText(corpus(std::string(100, 'x'))).random_words(random, 10, 24), base::DataError);
  EXPECT_EQ(WordText(corpus("one two")).random_words(random, 7, 7), "one two");
}

}  // namespace
}  // namespace rosa::training
