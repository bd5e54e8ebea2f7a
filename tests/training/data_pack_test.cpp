#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "training/data/pack.h"
#include "training/data/token_file.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PackTest : public ::testing::Test {
 protected:
  PackTest() { options_.output = folder_ / "out.tokens"; }

  void input(const std::string& name, std::string_view text) {
    base::write_file_atomically(folder_ / name, text);
    options_.inputs.push_back(folder_ / name);
  }
  std::vector<std::string> documents() const {
    const TokenFile file(options_.output);
    std::vector<std::string> result;
    for (int64_t d = 0; d < file.num_documents(); ++d) {
      const uint64_t first = file.document_starts()[d], end = file.document_starts()[d + 1];
      std::vector<int64_t> tokens(end - first);
      file.read(static_cast<int64_t>(first), tokens);
      result.emplace_back(tokens.begin(), tokens.end());
    }
    return result;
  }
  void expect_refused(std::string_view text, const std::string& place) {
    options_.inputs.clear();
    input("bad.jsonl", text);
    try {
      pack(options_);
      ADD_FAILURE() << text;
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(place)) << text;
      EXPECT_THAT(error.what(), HasSubstr("bad.jsonl")) << text;
    }
    EXPECT_FALSE(std::filesystem::exists(options_.output));
  }

  rosa::testing::TemporaryFolder folder_;
  PackOptions options_;
};

TEST_F(PackTest, OneDocumentAFile) {
  input("a.txt", "first\n\ntext\n");
  input("b.txt", "second");
  input("empty.txt", "");
  const PackResult result = pack(options_);
  EXPECT_EQ(result.num_documents, 2);
  EXPECT_EQ(result.num_tokens, 18);
  EXPECT_EQ(result.token_width_bytes, 1);
  EXPECT_THAT(documents(), ElementsAre("first\n\ntext\n", "second"));
}

TEST_F(PackTest, SplitsAtTheSeparator) {
  input("a.txt", "\n\nfirst\nline\n\nsecond\n\n\n\nthird");
  options_.separator = "\n\n";
  pack(options_);
  EXPECT_THAT(documents(), ElementsAre("first\nline", "second", "third"));
}

TEST_F(PackTest, JsonLinesOfTokenIds) {
  options_.format = PackFormat::jsonl;
  options_.vocabulary_size = 151936;
  input("a.jsonl", "[1, 2,151935]\n\n [7]\r\n[]\n[8]");
  const PackResult result = pack(options_);
  EXPECT_EQ(result.num_documents, 3);
  EXPECT_EQ(result.token_width_bytes, 4);
  std::vector<int64_t> tokens(5);
  TokenFile(options_.output).read(0, tokens);
  EXPECT_THAT(tokens, ElementsAre(1, 2, 151935, 7, 8));
}

TEST_F(PackTest, RefusalsNameFileAndLine) {
  options_.format = PackFormat::jsonl;
  options_.vocabulary_size = 100;
  expect_refused("[1]\n[2, 100]\n", "line 2: token 1 of the document is 100");
  expect_refused("[1]\n\n[-2]\n", "line 3: entry 0 is -2");
  expect_refused("[1.0]", "line 1: entry 0 is 1.0");
  expect_refused("[18446744073709551615]", "expected a token id");
  expect_refused("[1", "line 1: expected a JSON array");
  expect_refused("{\"ids\":1}", "line 1: expected a JSON array");
  expect_refused("7", "line 1: expected a JSON array");
  expect_refused("[[1]]", "line 1: the array is nested");
  expect_refused(std::string(100000, '['), "line 1: the array is nested");
  options_.format = PackFormat::text;
  options_.separator = "\n";
  expect_refused("ABC\nB~", "document at offset 4: token 1 of the document is 126");
}

// What `datasets` writes of a tokenizer's output: other keys stand beside the ids, and may be nested.
TEST_F(PackTest, JsonLinesOfObjects) {
  options_.format = PackFormat::jsonl;
  input("a.jsonl",
        "{\"input_ids\": [1, 2], \"attention_mask\": [1, 1]}\n"
        "{\"meta\": {\"a\": [[5]], \"input_ids\": [9]}, \"input_ids\": [3]}\n");
  pack(options_);
  EXPECT_THAT(documents(), ElementsAre("\1\2", "\3"));
  std::filesystem::remove(options_.output);
  expect_refused("{\"input_ids\": [[1]]}", "line 1: the array is nested");
  expect_refused("{\"input_ids\": 1}", "line 1: expected a JSON array");
  expect_refused("{\"text\": \"abc\"}", "that has one as \"input_ids\"");
  std::string deep = "{\"a\": ";
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":[";
  expect_refused(deep, "line 1: expected a JSON array");
}

TEST_F(PackTest, WhatOnlyLooksLikeTextIsRefused) {
  expect_refused("[1000,2000]\n", "add --format jsonl");
  options_.inputs.clear();
  using namespace std::string_view_literals;
  for (const auto& [content, expected] : {std::pair{"\x1f\x8b\x08 packed"sv, "is compressed (gzip); unpack it first"},
                                          {"\x28\xb5\x2f\xfd packed"sv, "is compressed (zstd)"},
                                          {"PK\x03\x04 packed"sv, "is compressed (zip)"},
                                          {"h\0i\0"sv, "is no text"},
                                          {"ROSATOK\n and so on"sv, "is a token file already"},
                                          {" \n[1000, 2000]\n"sv, "looks like JSON lines; add --format jsonl"},
                                          {"{\"input_ids\": [1]}"sv, "looks like JSON lines; add --format jsonl"}}) {
    options_.inputs.clear();
    input("a.txt", content);
    try {
      pack(options_);
      ADD_FAILURE() << expected;
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(expected));
    }
  }
  // Named, the format is believed; but a token file is never text.
  options_.format = PackFormat::text;
  options_.inputs.clear();
  input("a.txt", "h\0i\0"sv);
  input("b.txt", "[1000, 2000]\n");
  input("c.txt", "[a list] in prose");
  EXPECT_EQ(pack(options_).num_documents, 3);
  options_.inputs = {options_.output};
  options_.output = folder_ / "again.tokens";
  EXPECT_THROW(pack(options_), base::DataError);
}

TEST_F(PackTest, ProseIsText) {
  input("a.txt", "[1] A footnote.\n");
  input("b.txt", "{\"text\": 1}\n");
  EXPECT_EQ(pack(options_).num_documents, 2);
}

TEST_F(PackTest, APipeIsRead) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(folder_ / "pipe") << "through a pipe"; });
  options_.inputs = {folder_ / "pipe"};
  pack(options_);
  writer.join();
  EXPECT_THAT(documents(), ElementsAre("through a pipe"));
}

TEST_F(PackTest, ASeparatorSplitsNoIds) {
  options_.format = PackFormat::jsonl;
  options_.separator = "\n";
  input("a.jsonl", "[1]");
  EXPECT_THROW(pack(options_), base::ConfigError);
}

TEST_F(PackTest, MissingInputs) {
  EXPECT_THROW(pack(options_), base::ConfigError);
  options_.inputs = {folder_ / "absent"};
  EXPECT_THROW(pack(options_), base::FileError);
  input("empty", "");
  options_.inputs.erase(options_.inputs.begin());
  EXPECT_THROW(pack(options_), base::DataError);
}

}  // namespace
}  // namespace rosa::training
