// tokenizer.json files that ask for what is not implemented, are damaged, or mean harm: one error that names the place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

namespace rosa::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Tests run in parallel: each has a file of its own.
class TokenizerFileTest : public ::testing::Test {
 protected:
  TokenizerFileTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / base::concat("tokenizer_file_", test->name());
    fs::create_directories(folder_);
    small_ = json::parse(read(ROSA_TEST_DATA "/tokenizer/qwen_small/tokenizer.json"));
  }
  ~TokenizerFileTest() override { fs::remove_all(folder_); }

  std::unique_ptr<Tokenizer> load(const std::string& text) {
    std::ofstream(folder_ / "tokenizer.json", std::ios::binary) << text;
    return load_tokenizer(folder_);
  }
  std::unique_ptr<Tokenizer> load(const json& value) { return load(value.dump()); }

  // The message of its DataError; empty: it was taken.
  std::string refusal(const std::string& text) {
    try {
      load(text);
      return "";
    } catch (const base::DataError& error) {
      return error.what();
    }
  }
  std::string refusal(const char* pointer, const json& value) {
    json changed = small_;
    changed[json::json_pointer(pointer)] = value;
    return refusal(changed.dump());
  }

  fs::path folder_;
  json small_;
};

TEST_F(TokenizerFileTest, WhatIsNotImplementedIsRefusedByNameAndPlace) {
  struct Case {
    const char* pointer;
    json value;
    std::vector<const char*> words;
  };
  const json around = {{"type", "TemplateProcessing"}, {"single", {{{"Sequence", {{"id", "A"}}}}}}};
  const auto twice = [](const json& piece) { return json{{"type", "Sequence"}, {"processors", {piece, piece}}}; };
  const std::vector<Case> cases = {
      {"/normalizer", {{"type", "Lowercase"}}, {"'normalizer'", "'type'", "Lowercase"}},
      {"/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Strip"}}}}}, {"'normalizers' 1", "Strip"}},
      {"/pre_tokenizer", {{"type", "Whitespace"}}, {"'pre_tokenizer'", "Whitespace"}},
      {"/pre_tokenizer/pretokenizers/0/type", "Metaspace", {"'pretokenizers' 1", "Metaspace"}},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Isolate", {"'pretokenizers' 1", "'behavior'", "Isolate"}},
      {"/pre_tokenizer/pretokenizers/0/pattern", {{"Regex", "(a"}}, {"'pattern'", "wrong"}},
      {"/pre_tokenizer/pretokenizers/0/pattern", {{"Regex", "\\Ka"}}, {"'pattern'", "\\K"}},
      {"/pre_tokenizer/pretokenizers/0/pattern", {{"String", ""}}, {"'String'", "empty"}},
      {"/model/type", "WordPiece", {"'model'", "WordPiece"}},
      {"/model/dropout", 0.1, {"'dropout'"}},
      {"/model/byte_fallback", true, {"'byte_fallback'"}},
      {"/model/end_of_word_suffix", "</w>", {"'end_of_word_suffix'"}},
      {"/model/unk_token", "no such", {"'unk_token'", "no such"}},
      {"/model/surprise", 1, {"'model'", "'surprise'"}},
      {"/post_processor", {{"type", "BertProcessing"}}, {"'post_processor'", "BertProcessing"}},
      {"/post_processor", twice(around), {"'processors' 2", "second TemplateProcessing"}},
      {"/decoder", {{"type", "WordPiece"}}, {"'decoder'", "WordPiece"}},
      {"/truncation", {{"max_length", 8}}, {"'truncation'"}},
      {"/padding", {{"length", 8}}, {"'padding'"}},
      {"/version", "2.0", {"'version'", "2.0"}},
      {"/added_tokens/0/id", 900'000, {"'added_tokens' 1", "'id'"}},
      {"/added_tokens/1/content", "<|endoftext|>", {"'added_tokens' 2", "'content'"}},
  };
  for (const Case& one : cases) {
    const std::string message = refusal(one.pointer, one.value);
    EXPECT_THAT(message, HasSubstr("tokenizer.json")) << one.pointer << " " << one.value;
    for (const char* word : one.words) EXPECT_THAT(message, HasSubstr(word)) << one.pointer << " " << one.value;
  }
}

TEST_F(TokenizerFileTest, VocabulariesAndMergesThatMakeNoSenseAreRefused) {
  EXPECT_THAT(refusal("/model/vocab/zz", 5), HasSubstr("which another token has too"));
  EXPECT_THAT(refusal("/model/vocab/zz", -1), HasSubstr("'zz'"));
  EXPECT_THAT(refusal("/model/vocab/zz", 1.5), HasSubstr("'zz'"));
  EXPECT_THAT(refusal("/model/vocab/zz", int64_t{1} << 40), HasSubstr("'zz'"));
  EXPECT_THAT(refusal("/model/vocab", json::object()), HasSubstr("'vocab'"));
  EXPECT_THAT(refusal("/model/merges", "a b"), HasSubstr("'merges'"));
  for (const json& merge : {json("ab"), json("a b c"), json(7), json({"a"}), json({"a", ""}), json({"!", "no such"}),
                            json({"\"", "&"}), json({"a", 1})}) {
    EXPECT_THAT(refusal("/model/merges/3", merge), HasSubstr("'merges 4'")) << merge;
  }
}

TEST_F(TokenizerFileTest, MergesAsTextAreMergesAsPairs) {
  json as_text = small_;
  for (json& merge : as_text["model"]["merges"]) {
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  const auto pairs = load(small_), text = load(as_text);
  EXPECT_EQ(text->fingerprint(), pairs->fingerprint());
  EXPECT_EQ(text->encode("the same words"), pairs->encode("the same words"));
}

// As the reference decodes it. Its normal form is not the text of a special token, so it is not skipped.
TEST_F(TokenizerFileTest, AnAddedTokenIsDecodedToItsNormalForm) {
  json changed = small_;
  const int64_t id = small_["added_tokens"].back()["id"].get<int64_t>() + 1;
  json token = small_["added_tokens"][0];
  token.update({{"id", id}, {"content", "\u212a!"}, {"normalized", true}, {"special", true}});
  changed["normalizer"] = {{"type", "NFC"}};
  changed["added_tokens"].push_back(token);
  const auto tokenizer = load(changed);
  EXPECT_EQ(tokenizer->encode("K!"), std::vector<int64_t>{id});
  EXPECT_EQ(tokenizer->decode(std::vector<int64_t>{id}), "K!");
  EXPECT_EQ(tokenizer->decode(std::vector<int64_t>{id}, /*skip_special_tokens=*/true), "K!");
}

// Which of them the reference takes is not the same in every run.
TEST_F(TokenizerFileTest, AddedTokensOfOneNormalFormAreRefused) {
  json changed = small_;
  changed["normalizer"] = {{"type", "NFC"}};
  changed["added_tokens"] = json::array();
  const auto size = static_cast<int64_t>(small_["model"]["vocab"].size());
  for (const char* content : {"\u212a!", "K!"}) {
    json token = small_["added_tokens"][0];
    token.update({{"id", size + static_cast<int64_t>(changed["added_tokens"].size())}, {"content", content}});
    token["normalized"] = true;
    changed["added_tokens"].push_back(token);
  }
  EXPECT_THAT(refusal(changed.dump()), HasSubstr("'added_tokens' 2: 'content' is the text of '"));
  changed["added_tokens"][0]["normalized"] = false;
  EXPECT_EQ(refusal(changed.dump()), "");
}

TEST_F(TokenizerFileTest, TheFingerprintIsOfWhatTheFileMeans) {
  const uint64_t before = load(small_)->fingerprint();
  EXPECT_EQ(load(small_.dump(3))->fingerprint(), before);
  json changed = small_;
  std::swap(changed["model"]["merges"][0], changed["model"]["merges"][9]);
  EXPECT_NE(load(changed)->fingerprint(), before);
  changed = small_;
  changed["normalizer"] = nullptr;
  EXPECT_NE(load(changed)->fingerprint(), before);
  changed = small_;
  changed["added_tokens"][3]["lstrip"] = true;
  EXPECT_NE(load(changed)->fingerprint(), before);
}

TEST_F(TokenizerFileTest, HostileTextsAreOneError) {
  EXPECT_NE(refusal(""), "");
  EXPECT_NE(refusal("[]"), "");
  EXPECT_NE(refusal("{}"), "");
  EXPECT_NE(refusal(std::string(1 << 20, '[')), "");
  EXPECT_NE(refusal(std::string("{\"normalizer\":").append(100'000, '[')), "");
  EXPECT_NE(refusal(R"({"model": {}, "model": {}})"), "");
  // A sequence within a sequence, many times.
  json nested = {{"type", "NFC"}};
  for (int i = 0; i < 200; ++i) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  EXPECT_NE(refusal("/normalizer", nested), "");
  EXPECT_NE(refusal("/pre_tokenizer/pretokenizers/0/pattern/Regex", std::string(1 << 20, 'a')), "");
  EXPECT_NE(refusal("/pre_tokenizer/pretokenizers/0/pattern/Regex", std::string(5000, '(')), "");
}

// After the most that is read of such a file.
TEST_F(TokenizerFileTest, AFileOfAGigabyteIsRefused) {
  std::ofstream(folder_ / "tokenizer.json") << "{";
  fs::resize_file(folder_ / "tokenizer.json", uintmax_t{1} << 30);  // sparse
  EXPECT_THROW(load_tokenizer(folder_), base::Error);
}

// A search that would never end gives up.
TEST_F(TokenizerFileTest, AnExpressionThatBacktracksWithoutEndIsOneError) {
  json changed = small_;
  changed["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a+)+$|(a|aa)+b";
  const auto tokenizer = load(changed);
  try {
    tokenizer->encode(std::string(200, 'a') + "c");
    FAIL() << "no error";
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("gives up"));
  }
}

// A file with some bytes changed is taken, and then it encodes any text and decodes it, or is refused by one error.
TEST_F(TokenizerFileTest, FilesWithBytesChangedAreTakenOrRefused) {
  json few = small_;
  few["model"]["merges"].erase(few["model"]["merges"].begin() + 40, few["model"]["merges"].end());
  const std::string whole = few.dump();
  const size_t pre_tokenizer = whole.find("\"pre_tokenizer\"");
  const std::string text = "The <think> wordy\n\n 12 \u00e9\u0301 [PAD] \U0001f600 <|im_end|>x";
  std::mt19937 random(20240607);
  const auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  const std::string likely = "{}[]\",:0919-truefalsn\\u^*+?.()|";
  int num_taken = 0, num_refused = 0;
  for (int round = 0; round < 600; ++round) {
    std::string mutated = whole;
    for (size_t i = below(3) + 1; i > 0; --i) {
      // Half of the changes hit the pre-tokenizer: by chance few would hit anything but the long lists.
      const size_t wanted = below(2) == 0 ? below(mutated.size()) : pre_tokenizer + below(400);
      const size_t at = std::min(wanted, mutated.size() - 1);
      switch (below(4)) {
        case 0:
          mutated[at] = static_cast<char>(below(256));
          break;
        case 1:
          mutated[at] = likely[below(likely.size())];
          break;
        case 2:
          mutated.erase(at, below(12) + 1);
          break;
        default:
          mutated.insert(at, 1, likely[below(likely.size())]);
      }
    }
    try {
      const auto tokenizer = load(mutated);
      const std::vector<int64_t> ids = tokenizer->encode(text);
      for (const int64_t id : ids) EXPECT_TRUE(id >= 0 && id < tokenizer->vocabulary_size());
      tokenizer->decode(ids);
      ++num_taken;
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("tokenizer.json"));
      ++num_refused;
    }
  }
  EXPECT_GT(num_taken, 0);
  EXPECT_GT(num_refused, 0);
}

}  // namespace
}  // namespace rosa::text
