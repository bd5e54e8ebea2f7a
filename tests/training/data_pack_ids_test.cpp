#include <cstring>
#include <string>
#include <vector>

#include "tests/training/data_pack_fixture.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(PackTest, LinesOfTokenIds) {
  options_.ids = true;
  options_.tokenizer = nullptr;
  options_.vocabulary_size = 151936;
  input("a.jsonl", "[1, 2,151935]\n\n [7]\r\n[]\n[8]");
  const PackResult result = pack(options_);
  EXPECT_EQ(result.num_documents, 3);
  EXPECT_EQ(result.token_width_bytes, 4);
  std::vector<int64_t> tokens(5);
  const TokenFile file(options_.output);
  file.read(0, tokens);
  EXPECT_THAT(tokens, ElementsAre(1, 2, 151935, 7, 8));
  EXPECT_FALSE(file.facts().tokenizer.has_value());
  // They may be said to be of a tokenizer.
  options_.tokenizer = std::make_shared<ChatTokenizer>();
  options_.vocabulary_size = 0;
  options_.inputs.clear();
  input("b.jsonl", "[1, 258]");
  pack(options_);
  EXPECT_EQ(TokenFile(options_.output).facts().tokenizer.value().fingerprint, 5U);
  EXPECT_EQ(TokenFile(options_.output).num_tokens(), 2);
}

TEST_F(PackTest, RefusalsOfIdsNameFileAndLine) {
  options_.ids = true;
  options_.tokenizer = nullptr;
  options_.vocabulary_size = 100;
  expect_refused("[1]\n[2, 100]\n", "line 2: token 1 of the document is 100");
  expect_refused("[1]\n\n[-2]\n", "line 3: entry 0 is no token id");
  expect_refused("[1.0]", "line 1: entry 0 is no token id");
  expect_refused("[1, \"2\"]", "line 1: entry 1 is no token id");
  expect_refused("[18446744073709551615]", "is no token id");
  expect_refused("[1", "line 1: column 3: this is no JSON: the line ends too early");
  expect_refused("[1, x]", "line 1: column 5: this is no JSON: unexpected 'x'");
  expect_refused("{\"ids\":1}", "line 1: column 1: expected a JSON array");
  expect_refused("7", "line 1: column 1: expected a JSON array");
  expect_refused("[[1]]", "line 1: the array of token ids is nested");
  expect_refused(std::string(100000, '['), "line 1: the array of token ids is nested");
  expect_refused("{\"input_ids\": [[1]]}", "line 1: the array of token ids is nested");
  expect_refused("{\"input_ids\": 1}", "line 1: column 1: expected a JSON array");
  expect_refused("{\"text\": \"abc\"}", "that has one as \"input_ids\"");
  options_.tokenizer = text::make_byte_tokenizer();
  options_.ids = false;
  options_.format = PackFormat::text;
  options_.separator = "\n";
  expect_refused("ABC\nB~", "document at offset 4: token 1 of the document is 126");
}

// What `datasets` writes of a tokenizer's output: other keys stand beside the ids, and may be nested.
TEST_F(PackTest, IdsInObjects) {
  options_.ids = true;
  input("a.jsonl",
        "{\"input_ids\": [1, 2], \"attention_mask\": [1, 1]}\n"
        "{\"meta\": {\"a\": [[5]], \"input_ids\": [9]}, \"input_ids\": [3]}\n");
  pack(options_);
  EXPECT_THAT(documents(), ElementsAre("\1\2", "\3"));
}

// Megatron-LM's pair of files: header, sizes, places and documents.
class MegatronPackTest : public PackTest {
 protected:
  MegatronPackTest() {
    options_.ids = true;
    options_.tokenizer = nullptr;
    options_.vocabulary_size = 1000;
  }
  template <class Number>
  static void put(std::string& bytes, Number value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static std::string index(uint8_t code, const std::vector<int32_t>& sizes, const std::vector<int64_t>& places,
                           const std::vector<int64_t>& starts) {
    std::string bytes("MMIDIDX\0\0", 9);
    put(bytes, uint64_t{1});
    put(bytes, code);
    put(bytes, uint64_t{sizes.size()});
    put(bytes, uint64_t{starts.size()});
    for (const int32_t size : sizes) put(bytes, size);
    for (const int64_t place : places) put(bytes, place);
    for (const int64_t start : starts) put(bytes, start);
    return bytes;
  }
  void expect_index_refused(const std::string& bytes, const std::string& reason) {
    base::write_file_atomically(folder_ / "m.idx", bytes);
    try {
      pack(options_);
      ADD_FAILURE() << reason;
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(reason));
    }
  }
};

TEST_F(MegatronPackTest, ReadsPairs) {
  std::string data;
  for (const int value : {1, 2, 300, 4, 5}) put(data, static_cast<uint16_t>(value));
  input("m.bin", data);
  input("m.idx", index(8, {2, 1, 2}, {0, 4, 6}, {0, 2, 3}));
  EXPECT_EQ(pack(options_).num_documents, 2);
  const TokenFile file(options_.output);
  std::vector<int64_t> tokens(5);
  file.read(0, tokens);
  EXPECT_THAT(tokens, ElementsAre(1, 2, 300, 4, 5));
  EXPECT_THAT(file.document_starts(), ElementsAre(0, 3, 5));
}

TEST_F(MegatronPackTest, HostileIndexesAreRefused) {
  input("m.bin", std::string(10, '\1'));
  const std::string good = index(4, {2}, {0}, {0, 1});
  for (size_t size = 0; size < good.size(); ++size) expect_index_refused(good.substr(0, size), "m.idx");
  expect_index_refused(index(7, {2}, {0}, {0, 1}), "type 7");
  expect_index_refused(index(4, {3}, {0}, {0, 1}), "has only 10 bytes");
  expect_index_refused(index(4, {1}, {8}, {0, 1}), "has only 10 bytes");
  expect_index_refused(index(4, {1}, {-4}, {0, 1}), "has only 10 bytes");
  expect_index_refused(index(4, {-1}, {0}, {0, 1}), "has -1 tokens");
  expect_index_refused(index(4, {1}, {0}, {0, 2}), "starts at sequence 2");
  expect_index_refused(index(4, {1, 1}, {0, 4}, {0, 2, 1}), "starts at sequence 1");
  std::string huge = good;
  std::memset(huge.data() + 18, 0xff, 16);
  expect_index_refused(huge, "claims");
  input("m.bin", std::string(8, '\xff'));
  expect_index_refused(good, "is negative");
}

TEST_F(PackTest, ASeparatorSplitsNoIds) {
  options_.ids = true;
  options_.separator = "\n";
  input("a.jsonl", "[1]");
  EXPECT_THROW(pack(options_), base::ConfigError);
}

}  // namespace
}  // namespace rosa::training
