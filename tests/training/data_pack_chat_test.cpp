#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/training/data_pack_fixture.h"

namespace rosa::training {
namespace {

class ChatPackTest : public PackTest {
 protected:
  ChatPackTest() {
    options_.tokenizer = std::make_shared<ChatTokenizer>();
    options_.format = PackFormat::chat;
  }
};

// Tokens as text, special ones as < > ., and beside them what counts.
TEST_F(ChatPackTest, WritesChatMlAndCountsTheAnswers) {
  input("a.jsonl",
        "{\"messages\": [{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\": \"<|im_end|>\"},"
        "{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"ye\"}, {\"type\": \"text\", "
        "\"text\": \"s\"}]}, {\"role\": \"assistant\", \"content\": \"no\", \"weight\": 0}], \"tools\": []}\n");
  const PackResult result = pack(options_);
  EXPECT_TRUE(result.has_loss_mask);
  EXPECT_EQ(result.num_counted, 4);
  const TokenFile file(options_.output);
  std::vector<int64_t> tokens(static_cast<size_t>(file.num_tokens()));
  file.read(0, tokens);
  std::string shown, counted;
  for (size_t i = 0; i < tokens.size(); ++i) {
    shown += tokens[i] == ChatTokenizer::kStart ? '{'
             : tokens[i] == ChatTokenizer::kEnd ? '}'
                                                : static_cast<char>(tokens[i]);
    if (file.counts(static_cast<int64_t>(i))) counted += shown.back();
  }
  EXPECT_EQ(shown, "{system\nS}\n{user\n<|im_end|>}\n{assistant\nyes}\n{assistant\nno}\n");
  EXPECT_EQ(counted, "yes}");
}

// A real tokenizer: the tokens of a conversation are those of its whole text.
TEST_F(ChatPackTest, EqualsTheEncodingOfTheWholeText) {
  options_.tokenizer = text::load_tokenizer(ROSA_TEST_DATA "/tokenizer/qwen_small");
  input("a.jsonl", R"({"messages": [{"role": "user", "content": "\n\nWhy is the sky blue, 2024?"}, )"
                   R"({"role": "assistant", "content": "Because of Rayleigh: \u00e9\u4f60 \n"}]})");
  pack(options_);
  const TokenFile file(options_.output);
  std::vector<int64_t> tokens(static_cast<size_t>(file.num_tokens()));
  file.read(0, tokens);
  EXPECT_EQ(tokens,
            options_.tokenizer->encode("<|im_start|>user\n\n\nWhy is the sky blue, 2024?<|im_end|>\n<|im_start|>"
                                       "assistant\nBecause of Rayleigh: \xc3\xa9\xe4\xbd\xa0 \n<|im_end|>\n"));
  EXPECT_EQ(file.facts().tokenizer.value().fingerprint, options_.tokenizer->fingerprint());
  std::vector<int64_t> counted;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (file.counts(static_cast<int64_t>(i))) counted.push_back(tokens[i]);
  }
  EXPECT_EQ(options_.tokenizer->decode(counted), "Because of Rayleigh: \xc3\xa9\xe4\xbd\xa0 \n<|im_end|>");
}

TEST_F(ChatPackTest, WhatWouldBeLostIsRefusedByName) {
  const auto refuse_message = [&](const std::string& message, const std::string& expected) {
    expect_refused("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, " + message + "]}", expected);
  };
  refuse_message(R"({"role": "tool", "content": "x"})", "line 1: message 2 has the role 'tool'");
  refuse_message(R"({"role": "assistant", "content": null, "tool_calls": [{}]})", "has 'tool_calls'");
  refuse_message(R"({"role": "assistant", "content": "x", "reasoning_content": "hm"})", "has 'reasoning_content'");
  refuse_message(R"({"role": "user", "content": [{"type": "image_url", "image_url": {}}]})", "has a part 'image_url'");
  refuse_message(R"({"role": "user"})", "message 2 has no 'content'");
  refuse_message(R"({"content": "x"})", "message 2 has no 'role'");
  refuse_message(R"({"role": "assistant", "content": "x", "weight": 0.5})", "'weight' that is neither");
  refuse_message("7", "message 2 is no object");
  expect_refused(R"({"messages": [{"role": "user", "content": "a"}], "tools": [{"a": 1}]})", "has 'tools'");
  expect_refused("{\"messages\": []}", "line 1: column 1: expected {\"messages\"");
  expect_refused("{\"messages\": [}", "line 1: column 15: this is no JSON: unexpected '}'");
  expect_refused("{\"messages\": " + std::string(100000, '['), "nested deeper than");
  options_.tokenizer = text::make_byte_tokenizer();
  input("a.jsonl", "{}");
  EXPECT_THROW(pack(options_), base::ConfigError);
}

TEST_F(ChatPackTest, TheMaskGoesWithItsDocument) {
  std::string lines;
  for (int i = 0; i < 3000; ++i) {
    lines += base::concat(R"({"messages": [{"role": "user", "content": "q)", i,
                          R"("}, {"role": "assistant", "content": "a)", i, "\"}]}\n");
  }
  input("a.jsonl", lines);
  options_.shuffle_seed = 1;
  options_.num_threads = 3;
  options_.split_long = 40;
  pack(options_);
  const TokenFile file(options_.output);
  std::vector<int64_t> tokens(static_cast<size_t>(file.num_tokens()));
  file.read(0, tokens);
  std::string counted;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (file.counts(static_cast<int64_t>(i))) counted += tokens[i] < 256 ? static_cast<char>(tokens[i]) : ' ';
  }
  std::set<std::string> answers;
  std::istringstream words(counted);
  for (std::string word; words >> word;) answers.insert(word);
  EXPECT_EQ(answers.size(), 3000U);
  EXPECT_TRUE(answers.contains("a2999"));
}

}  // namespace
}  // namespace rosa::training
