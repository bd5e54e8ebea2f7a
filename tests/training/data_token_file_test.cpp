#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "training/data/token_file.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TokenFileTest : public ::testing::Test {
 protected:
  void write(int64_t vocabulary_size, const std::vector<std::vector<int64_t>>& documents) {
    TokenFileWriter writer(path_, vocabulary_size);
    for (const auto& document : documents) writer.add_document(document);
    writer.finish();
  }

  std::string bytes() const { return base::read_file(path_, 1 << 20); }

  template <class Number>
  static void put(std::string& bytes, size_t offset, Number value) {
    std::memcpy(bytes.data() + offset, &value, sizeof(value));
  }
  template <class Number>
  static Number get(const std::string& bytes, size_t offset) {
    Number value;
    std::memcpy(&value, bytes.data() + offset, sizeof(value));
    return value;
  }
  // What a hostile writer would do: changes the content and makes the checksums right again.
  static void seal(std::string& bytes) {
    const auto num_tokens = get<uint64_t>(bytes, 24), width = uint64_t{get<uint32_t>(bytes, 12)};
    const uint64_t offset = 64 + (num_tokens * width + 7) / 8 * 8;
    if (offset <= bytes.size()) put(bytes, 48, base::checksum(std::string_view(bytes).substr(offset)));
    put(bytes, 56, base::checksum(std::string_view(bytes).substr(0, 56)));
  }
  void expect_refused(const std::string& bytes, const std::string& reason) {
    base::write_file_atomically(path_, bytes);
    try {
      TokenFile file(path_);
      ADD_FAILURE() << "accepted; expected: " << reason;
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(reason));
      EXPECT_THAT(error.what(), HasSubstr("tokens.bin"));
    }
  }

  rosa::testing::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "tokens.bin";
};

TEST_F(TokenFileTest, AFileThatIsWrittenAnewInPlaceIsNoticed) {
  write(100, {{1, 2, 3}, {4, 5}});
  const std::string before = bytes();
  write(100, {{9, 9, 9}, {9, 9}});
  const std::string after = bytes();
  ASSERT_EQ(before.size(), after.size());
  base::write_file_atomically(path_, before);
  const TokenFile file(path_);
  std::vector<int64_t> tokens(5);
  file.read(0, tokens);
  std::ofstream(path_, std::ios::binary | std::ios::in) << after;  // the same size
  EXPECT_THROW(file.read(0, tokens), base::FileError);
  std::ofstream(path_, std::ios::binary | std::ios::in) << before;
  EXPECT_NO_THROW(file.read(0, tokens));
  std::filesystem::resize_file(path_, before.size() - 8);
  EXPECT_THROW(file.read(0, tokens), base::FileError);
  std::filesystem::resize_file(path_, 0);
  EXPECT_THROW(file.read(0, tokens), base::FileError);
}

TEST_F(TokenFileTest, ReturnsWhatWasWrittenAtEveryWidth) {
  for (const auto& [vocabulary_size, width] :
       {std::pair<int64_t, int64_t>{256, 1}, {257, 2}, {65536, 2}, {65537, 4}, {int64_t{1} << 32, 4}}) {
    const int64_t last = vocabulary_size - 1;
    write(vocabulary_size, {{1, 2, last}, {}, {0}, {last, 5}});
    const TokenFile file(path_);
    EXPECT_EQ(file.token_width_bytes(), width);
    EXPECT_EQ(file.vocabulary_size(), vocabulary_size);
    EXPECT_EQ(file.num_tokens(), 6);
    EXPECT_EQ(file.num_documents(), 3);
    EXPECT_THAT(file.document_starts(), ElementsAre(0, 3, 4, 6));
    std::vector<int64_t> tokens(6);
    file.read(0, tokens);
    EXPECT_THAT(tokens, ElementsAre(1, 2, last, 0, last, 5));
    file.read(4, std::span(tokens).first(2));
    EXPECT_EQ(tokens[0], last);
    EXPECT_EQ(file.document_at(2), 0);
    EXPECT_EQ(file.document_at(3), 1);
    EXPECT_EQ(file.document_at(5), 2);
    EXPECT_NO_THROW(file.verify_tokens());
    EXPECT_THROW(file.document_at(6), base::ArgumentError);
    EXPECT_THROW(file.read(5, std::span(tokens).first(2)), base::ArgumentError);
    EXPECT_THROW(file.read(-1, std::span(tokens).first(2)), base::ArgumentError);
  }
}

TEST_F(TokenFileTest, WriterRefusesWhatDoesNotFitAndLeavesNothing) {
  EXPECT_THROW(write(100, {{99, 100}}), base::DataError);
  EXPECT_THROW(write(100, {{-1}}), base::DataError);
  EXPECT_THROW(write(100, {}), base::DataError);
  EXPECT_THROW(write(100, {{}}), base::DataError);
  EXPECT_THROW(write(0, {{0}}), base::ArgumentError);
  TokenFileWriter(path_, 128).add_document(std::string_view("unfinished"));
  EXPECT_THROW(TokenFileWriter(path_, 128).add_document(std::string_view("caf\xc3\xa9")), base::DataError);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(TokenFileTest, EveryTruncationIsRefused) {
  write(300, {{1, 2, 3}, {4, 5}});
  const std::string whole = bytes();
  for (size_t length = 0; length < whole.size(); ++length) {
    expect_refused(whole.substr(0, length), "no valid token file");
  }
  expect_refused(whole + '\0', "expected");
}

TEST_F(TokenFileTest, EveryFlippedBitIsSeen) {
  write(300, {{1, 2, 3}, {4, 5}});
  const std::string whole = bytes();
  for (size_t place = 0; place < whole.size(); ++place) {
    // The zeros that fill up to a multiple of 8 mean nothing.
    if (place >= 64 + 10 && place < 64 + 16) continue;
    std::string damaged = whole;
    damaged[place] = static_cast<char>(damaged[place] ^ 4);
    base::write_file_atomically(path_, damaged);
    EXPECT_THROW(TokenFile(path_).verify_tokens(), base::DataError) << place;
  }
}

TEST_F(TokenFileTest, HostileHeadersAreRefused) {
  write(300, {{1, 2, 3}, {4, 5}});
  const std::string whole = bytes();
  auto with = [&](size_t offset, auto value) {
    std::string changed = whole;
    put(changed, offset, value);
    seal(changed);
    return changed;
  };
  std::string other = whole;
  other[0] = 'X';
  expect_refused(other, "ROSATOK");
  expect_refused(with(8, uint32_t{2}), "version 2");
  expect_refused(with(12, uint32_t{3}), "3 bytes wide");
  expect_refused(with(12, uint32_t{0}), "0 bytes wide");
  expect_refused(with(16, uint64_t{0}), "vocabulary has 0");
  expect_refused(with(16, uint64_t{1} << 40), "vocabulary has");
  for (uint64_t count : {uint64_t{0}, uint64_t{4}, uint64_t{9}, uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0}}) {
    expect_refused(with(24, count), "no valid token file");
    expect_refused(with(32, count), "no valid token file");
  }
}

TEST_F(TokenFileTest, HostileDocumentStartsAreRefused) {
  write(300, {{1, 2, 3}, {4, 5}});
  const std::string whole = bytes();
  const size_t starts = whole.size() - 24;
  auto with = [&](std::array<uint64_t, 3> values) {
    std::string changed = whole;
    std::memcpy(changed.data() + starts, values.data(), 24);
    seal(changed);
    return changed;
  };
  expect_refused(with({1, 3, 5}), "document 0 starts at token 1 (offset 80)");
  expect_refused(with({0, 0, 5}), "document 1 starts at token 0 (offset 88)");
  expect_refused(with({0, 6, 5}), "document 1 starts at token 6");
  expect_refused(with({0, ~uint64_t{0}, 5}), "document 1");
  expect_refused(with({0, 3, 4}), "ends at token 4");
}

TEST_F(TokenFileTest, TokensBeyondTheVocabularyAreNamed) {
  write(300, {{1, 2, 3}, {4, 5}});
  std::string changed = bytes();
  put(changed, 64 + 2 * 3, uint16_t{300});
  base::write_file_atomically(path_, changed);
  const TokenFile file(path_);
  std::vector<int64_t> tokens(5);
  EXPECT_NO_THROW(file.read(0, std::span(tokens).first(3)));
  try {
    file.read(1, std::span(tokens).first(3));
    ADD_FAILURE();
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("token 3 (offset 70) is 300"));
  }
}

TEST_F(TokenFileTest, LargeDocumentsPassTheBuffer) {
  std::vector<int64_t> document(400000);
  for (size_t i = 0; i < document.size(); ++i) document[i] = static_cast<int64_t>(i * 7 % 70000);
  write(70000, {document, document});
  const TokenFile file(path_);
  EXPECT_NO_THROW(file.verify_tokens());
  std::vector<int64_t> tokens(400000);
  file.read(400000, tokens);
  EXPECT_EQ(tokens, document);
}

}  // namespace
}  // namespace rosa::training
