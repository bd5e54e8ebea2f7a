#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  expect_refused("ABC\nB~", "document at offset 4: byte 1 of the document is 126");
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
