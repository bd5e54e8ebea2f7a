#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "training/data/token_file.h"
#include "training/data/token_file_writer.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kHeaderBytes = 192;

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
    const bool is_old = get<uint32_t>(bytes, 8) == 1;
    const size_t header = is_old ? 64 : kHeaderBytes;
    const uint64_t offset = header + (num_tokens * width + 7) / 8 * 8, starts = 8 * (get<uint64_t>(bytes, 32) + 1);
    if (offset <= bytes.size()) put(bytes, 48, base::checksum(std::string_view(bytes).substr(offset, starts)));
    put(bytes, header - 8, base::checksum(std::string_view(bytes).substr(0, header - 8)));
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
    if (place >= kHeaderBytes + 10 && place < kHeaderBytes + 16) continue;
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
  expect_refused(with(8, uint32_t{3}), "version 3");
  expect_refused(with(64, uint64_t{300}), "end-of-text id is 300");
  expect_refused(with(72, uint64_t{1} << 63), "which can't be");
  expect_refused(with(88, uint32_t{8}), "flags 8");
  expect_refused(with(88, uint32_t{4}), "truncated");
  expect_refused(with(92, uint32_t{89}), "has 89 bytes");
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
  expect_refused(with({1, 3, 5}), "document 0 starts at token 1 (offset 208)");
  expect_refused(with({0, 0, 5}), "document 1 starts at token 0 (offset 216)");
  expect_refused(with({0, 6, 5}), "document 1 starts at token 6");
  expect_refused(with({0, ~uint64_t{0}, 5}), "document 1");
  expect_refused(with({0, 3, 4}), "ends at token 4");
}

TEST_F(TokenFileTest, TokensBeyondTheVocabularyAreNamed) {
  write(300, {{1, 2, 3}, {4, 5}});
  std::string changed = bytes();
  put(changed, kHeaderBytes + 2 * 3, uint16_t{300});
  base::write_file_atomically(path_, changed);
  const TokenFile file(path_);
  std::vector<int64_t> tokens(5);
  EXPECT_NO_THROW(file.read(0, std::span(tokens).first(3)));
  try {
    file.read(1, std::span(tokens).first(3));
    ADD_FAILURE();
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("token 3 (offset 198) is 300"));
  }
}

// The file of an earlier program: the header was shorter and knew no tokenizer.
TEST_F(TokenFileTest, VersionOneIsReadOn) {
  write(300, {{1, 2, 3}, {4, 299}});
  std::string old = bytes();
  old = old.substr(0, 56) + std::string(8, ' ') + old.substr(kHeaderBytes);
  put(old, 8, uint32_t{1});
  seal(old);
  base::write_file_atomically(path_, old);
  const TokenFile file(path_);
  EXPECT_EQ(file.version(), 1);
  EXPECT_NO_THROW(file.verify_tokens());
  std::vector<int64_t> tokens(5);
  file.read(0, tokens);
  EXPECT_THAT(tokens, ElementsAre(1, 2, 3, 4, 299));
  EXPECT_THAT(file.document_starts(), ElementsAre(0, 3, 5));
  EXPECT_FALSE(file.facts().tokenizer.has_value());
  EXPECT_FALSE(file.facts().end_of_text.has_value());
  EXPECT_TRUE(file.counts(4));
  for (size_t length = 0; length < old.size(); ++length) {
    expect_refused(old.substr(0, length), "no valid token file");
  }
  for (size_t place = 0; place < old.size(); ++place) {
    if (place >= 64 + 10 && place < 64 + 16) continue;
    std::string damaged = old;
    damaged[place] = static_cast<char>(damaged[place] ^ 4);
    base::write_file_atomically(path_, damaged);
    EXPECT_THROW(TokenFile(path_).verify_tokens(), base::DataError) << place;
  }
}

TEST_F(TokenFileTest, KnowsItsTokenizerAndWhatCounts) {
  // "é" is torn where the name's room ends.
  const std::string name = std::string(87, 'n') + "\xc3\xa9";
  {
    TokenFileWriter writer(
        path_, 1000,
        {.tokenizer = TokenizerMark{.name = name, .fingerprint = 77}, .end_of_text = 999, .has_loss_mask = true});
    const std::vector<int64_t> tokens = {1, 2, 3, 4, 5, 6, 7};
    writer.add_document(tokens, std::vector<uint8_t>{0, 0, 1, 1, 0, 1, 0});
    writer.add_document(tokens, {});
    writer.add_document(tokens, std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 1});
    writer.add_text_bytes(50);
    writer.finish();
  }
  const std::string whole = bytes();
  {
    const TokenFile file(path_);
    EXPECT_EQ(file.facts().tokenizer.value().name, std::string(87, 'n'));
    EXPECT_EQ(file.facts().tokenizer.value().fingerprint, 77U);
    EXPECT_FALSE(file.facts().tokenizer.value().is_bytes);
    EXPECT_EQ(file.facts().end_of_text, 999);
    EXPECT_EQ(file.facts().num_text_bytes, 50);
    std::string counted;
    for (int64_t t = 0; t < file.num_tokens(); ++t) counted += file.counts(t) ? '1' : '0';
    EXPECT_EQ(counted, "001101011111111000001");
    EXPECT_THROW(file.counts(21), base::ArgumentError);
  }
  for (size_t length = 0; length < whole.size(); ++length) {
    expect_refused(whole.substr(0, length), "no valid token file");
  }
  for (size_t place = 0; place < whole.size(); ++place) {
    if (place >= kHeaderBytes + 42 && place < kHeaderBytes + 48) continue;
    std::string damaged = whole;
    damaged[place] = static_cast<char>(damaged[place] ^ 4);
    base::write_file_atomically(path_, damaged);
    EXPECT_THROW(TokenFile(path_).verify_tokens(), base::DataError) << place;
  }
  EXPECT_THROW(TokenFileWriter(path_, 10, {.end_of_text = 10}), base::ArgumentError);
  EXPECT_THROW(TokenFileWriter(path_, 10).add_document(std::vector<int64_t>{1}, std::vector<uint8_t>{1}),
               base::ArgumentError);
}

TEST_F(TokenFileTest, ManyDocumentsPassTheBuffers) {
  TokenFileWriter writer(path_, 256, {.has_loss_mask = true});
  constexpr int64_t kDocuments = 300000;
  for (int64_t d = 0; d < kDocuments; ++d) {
    const std::vector<int64_t> tokens(static_cast<size_t>(1 + d % 60), d % 256);
    writer.add_document(tokens, std::vector<uint8_t>(tokens.size(), d % 3 == 0 ? 1 : 0));
  }
  writer.finish();
  const TokenFile file(path_);
  ASSERT_EQ(file.num_documents(), kDocuments);
  EXPECT_NO_THROW(file.verify_tokens());
  for (int64_t d = 0; d < kDocuments; d += 997) {
    const auto first = static_cast<int64_t>(file.document_starts()[static_cast<size_t>(d)]);
    std::vector<int64_t> token(1);
    file.read(first, token);
    EXPECT_EQ(token[0], d % 256);
    EXPECT_EQ(file.counts(first), d % 3 == 0);
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
