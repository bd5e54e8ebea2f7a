#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/training/data_pack_fixture.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(PackTest, TheEndOfATextIsAppended) {
  options_.tokenizer = std::make_shared<ChatTokenizer>();
  options_.separator = "\n";
  input("a.txt", "ab\n<|im_end|>");
  const auto tokens = [&] {
    pack(options_);
    const TokenFile file(options_.output);
    std::vector<int64_t> all(static_cast<size_t>(file.num_tokens()));
    file.read(0, all);
    return all;
  };
  std::vector<int64_t> all = tokens();
  EXPECT_EQ(all.size(), 14U);
  EXPECT_EQ(all[2], ChatTokenizer::kEndOfText);  // not the end of a turn, which the tokenizer calls its end
  EXPECT_EQ(all[3], '<');                        // text that reads like a special token is text
  EXPECT_EQ(TokenFile(options_.output).facts().end_of_text, ChatTokenizer::kEndOfText);
  EXPECT_EQ(TokenFile(options_.output).facts().num_text_bytes, 12);
  options_.recognize_special_tokens = true;
  options_.append = "<|im_start|>";
  EXPECT_THAT(tokens(), ElementsAre('a', 'b', ChatTokenizer::kStart, ChatTokenizer::kEnd, ChatTokenizer::kStart));
  options_.append = "none";
  EXPECT_THAT(tokens(), ElementsAre('a', 'b', ChatTokenizer::kEnd));
  options_.append = "<|absent|>";
  EXPECT_THROW(pack(options_), base::ConfigError);
  options_.tokenizer = text::make_byte_tokenizer();
  options_.append = "end-of-text";
  EXPECT_THROW(pack(options_), base::ConfigError);
}

TEST_F(PackTest, ShortAndLongDocuments) {
  options_.separator = "\n";
  options_.min_tokens = 2;
  options_.split_long = 3;
  input("a.txt", "1\n12\n123\n1234\n1234567\n");
  const PackResult result = pack(options_);
  EXPECT_THAT(documents(), ElementsAre("12", "123", "123", "4", "123", "456", "7"));
  EXPECT_EQ(result.num_too_short, 1);
  EXPECT_EQ(result.num_split, 2);
}

TEST_F(PackTest, HeldOutDocumentsAreDisjointByTheirText) {
  std::string lines;
  std::mt19937 random(1);
  for (int i = 0; i < 4000; ++i) lines += base::concat("document ", random() % 1000, "\n");
  options_.separator = "\n";
  options_.held_out_share = 0.1;
  EXPECT_THROW(pack(options_), base::ConfigError);
  input("a.txt", lines);
  EXPECT_THROW(pack(options_), base::ConfigError);
  options_.held_out_output = folder_ / "held.tokens";
  const PackResult result = pack(options_);
  const std::vector<std::string> train = documents(), held_out = documents(options_.held_out_output);
  EXPECT_EQ(train.size() + held_out.size(), 4000U);
  EXPECT_EQ(result.num_held_out_documents, static_cast<int64_t>(held_out.size()));
  EXPECT_GT(held_out.size(), 250U);
  EXPECT_LT(held_out.size(), 550U);
  const std::set<std::string> seen(train.begin(), train.end());
  for (const std::string& text : held_out) EXPECT_FALSE(seen.contains(text)) << text;
  options_.held_out_share = 1e-9;
  std::filesystem::remove(options_.output);
  std::filesystem::remove(options_.held_out_output);
  EXPECT_THROW(pack(options_), base::DataError);
  EXPECT_FALSE(std::filesystem::exists(options_.output));
  EXPECT_FALSE(std::filesystem::exists(options_.held_out_output));
}

TEST_F(PackTest, ShufflingDrawsTheOrderOnly) {
  std::string lines;
  std::multiset<std::string> expected;
  for (int i = 0; i < 1500; ++i) {
    const std::string text = base::concat("document ", i, std::string(static_cast<size_t>(i % 97), 'x'));
    lines += text + "\n";
    expected.insert(text);
  }
  options_.separator = "\n";
  input("a.txt", lines);
  pack(options_);
  const std::vector<std::string> plain = documents();
  options_.shuffle_seed = 7;
  pack(options_);
  const std::vector<std::string> shuffled = documents();
  const std::string bytes = read(options_.output);
  EXPECT_NE(shuffled, plain);
  EXPECT_EQ(std::multiset<std::string>(shuffled.begin(), shuffled.end()), expected);
  pack(options_);
  EXPECT_EQ(read(options_.output), bytes);
  options_.shuffle_seed = 8;
  pack(options_);
  EXPECT_NE(documents(), shuffled);
}

TEST_F(PackTest, TheNumberOfThreadsChangesNothing) {
  std::mt19937 random(2);
  for (int f = 0; f < 6; ++f) {
    std::string text;
    for (int i = 0; i < 60000; ++i) text += base::concat("word ", random() % 1000, i % 5 == 0 ? "\n" : " ");
    input(base::concat("in", f, ".txt.gz"), gzip(text));
  }
  options_.tokenizer = std::make_shared<ChatTokenizer>();
  options_.separator = "\n";
  options_.held_out_share = 0.2;
  options_.held_out_output = folder_ / "held.tokens";
  options_.shuffle_seed = 3;
  pack(options_);
  const std::string one = read(options_.output), held_out = read(options_.held_out_output);
  for (const int num_threads : {2, 5}) {
    options_.num_threads = num_threads;
    pack(options_);
    EXPECT_TRUE(read(options_.output) == one) << num_threads;
    EXPECT_TRUE(read(options_.held_out_output) == held_out) << num_threads;
  }
  // The first error is told, whatever else goes wrong behind it.
  for (const int num_threads : {1, 4}) {
    options_.num_threads = num_threads;
    options_.inputs.clear();
    input("first.jsonl", "{\"text\": \"a\"}\n{\"text\": 7}\n");
    input("second.jsonl", "nonsense");
    options_.inputs.push_back(folder_ / "absent");
    options_.separator = "";
    try {
      pack(options_);
      ADD_FAILURE();
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("first.jsonl', line 2"));
    }
  }
}

TEST_F(PackTest, AStopLeavesNothing) {
  std::string text;
  for (int i = 0; i < 400000; ++i) text += "twelve bytes";
  input("a.txt", text);
  input("b.txt", text);
  int asked = 0;
  options_.should_stop = [&] { return ++asked > 1; };
  EXPECT_THROW(pack(options_), PackStopped);
  EXPECT_THAT(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 2);
  PackProgress last;
  options_.should_stop = {};
  options_.on_progress = [&](const PackProgress& progress) { last = progress; };
  pack(options_);
  EXPECT_EQ(last.num_bytes, 9600000);
  EXPECT_EQ(last.num_bytes_total, 9600000);
  EXPECT_EQ(last.num_tokens, 9600000);
}

}  // namespace
}  // namespace rosa::training
