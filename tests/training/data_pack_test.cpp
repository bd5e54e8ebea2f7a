#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include <cstring>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "text/tokenizer.h"
#include "training/data/pack.h"
#include "training/data/token_file.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Bytes, and three special tokens: a tokenizer for conversations that a test can read.
class ChatTokenizer : public text::Tokenizer {
 public:
  static constexpr int64_t kStart = 256, kEnd = 257, kEndOfText = 258;

  int64_t vocabulary_size() const override { return 259; }
  const std::string& name() const override { return name_; }
  uint64_t fingerprint() const override { return 5; }
  std::optional<int64_t> end_of_text() const override { return kEnd; }
  bool is_bytes() const override { return false; }
  void encode(std::string_view text, const text::EncodeOptions& options, std::vector<int64_t>& ids) const override {
    while (!text.empty()) {
      if (options.recognize_special_tokens && text.starts_with("<|im_end|>")) {
        ids.push_back(kEnd);
        text.remove_prefix(10);
        continue;
      }
      ids.push_back(static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
    }
  }
  std::string decode(std::span<const int64_t> ids, bool) const override { return {ids.begin(), ids.end()}; }
  std::string_view bytes_of(int64_t) const override { return {}; }
  bool is_special(int64_t id) const override { return id >= 256; }
  bool has_token(int64_t) const override { return true; }
  std::optional<int64_t> id_of(std::string_view content) const override {
    if (content == "<|im_start|>") return kStart;
    if (content == "<|im_end|>") return kEnd;
    if (content == "<|endoftext|>") return kEndOfText;
    return std::nullopt;
  }

 private:
  std::string name_ = "chat";
};

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::string zstd(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

std::string read(const std::filesystem::path& path) { return base::read_file(path, 1 << 28); }

class PackTest : public ::testing::Test {
 protected:
  PackTest() {
    options_.output = folder_ / "out.tokens";
    options_.tokenizer = text::make_byte_tokenizer();
  }

  void input(const std::string& name, std::string_view text) {
    base::write_file_atomically(folder_ / name, text);
    options_.inputs.push_back(folder_ / name);
  }
  std::vector<std::string> documents() const { return documents(options_.output); }
  static std::vector<std::string> documents(const std::filesystem::path& path) {
    const TokenFile file(path);
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

TEST_F(PackTest, TextOfJsonLines) {
  options_.text_fields = {"text", "meta.body"};
  input("a.jsonl",
        "{\"text\": \"one \\u00e9\", \"n\": [1, {\"text\": \"no\"}]}\n"
        "\n"
        "{\"meta\": {\"a\": 1, \"body\": \"two\", \"deeper\": {\"body\": \"no\"}}}\r\n"
        "{\"text\": \"\"}\n{\"text\": null}\n"
        "{\"meta\": {\"body\": \"second\"}, \"text\": \"first\"}");
  EXPECT_EQ(pack(options_).num_documents, 3);
  EXPECT_THAT(documents(), ElementsAre("one \xc3\xa9", "two", "first"));
}

TEST_F(PackTest, RefusalsOfJsonLinesHaveOnePosition) {
  expect_refused("{\"text\": \"a\"}\n{\"text\": 1}\n", "line 2: column 1: field 'text' is no text");
  expect_refused("{\"text\": [\"a\"]}", "line 1: column 1: field 'text' is no text");
  expect_refused("{\"body\": \"a\", \"id\": 1}", "no field 'text', only body, id; --text-field");
  expect_refused("{\"text\": \"a\"", "line 1: column 13: this is no JSON: the line ends too early");
  expect_refused("{\"text\": \"a\"} }", "line 1: column 15: this is no JSON: unexpected '}'");
  expect_refused("{\"text\": \"a\tb\"}", "a control character in a string");
  expect_refused("[\"a\"]", "line 1: column 1: expected an object");
  expect_refused("7", "line 1: column 1: expected an object");
  std::string deep = "{\"a\": ";
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":[";
  expect_refused(deep, "line 1: column ");
  for (const char* word : {"json.exception", "parse error", "syntax error"}) {
    try {
      input("bad.jsonl", "{\"text\": tru}");
      pack(options_);
      ADD_FAILURE();
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), ::testing::Not(HasSubstr(word)));
    }
  }
}

TEST_F(PackTest, WhatOnlyLooksLikeTextIsRefused) {
  expect_refused("[1000,2000]\n", "say --ids");
  options_.inputs.clear();
  using namespace std::string_view_literals;
  std::string tar(600, ' ');
  tar.replace(257, 5, "ustar");
  for (const auto& [content, expected] : {std::pair{std::string_view(tar), "is an archive (tar)"},
                                          {"PK\x03\x04 packed"sv, "is an archive (zip)"},
                                          {"\xfd\x37zXZ packed"sv, "is compressed (xz)"},
                                          {"PAR1 and so on"sv, "is a Parquet file"},
                                          {"\xff\xfeh\0i\0"sv, "is UTF-16"},
                                          {"h\0i\0"sv, "is no text"},
                                          {"ROSATOK\n and so on"sv, "is a token file already"},
                                          {" \n[1000, 2000]\n"sv, "looks like lines of token ids; say --ids"},
                                          {"{\"input_ids\": [1]}"sv, "looks like lines of token ids"},
                                          {"{\"messages\": []}\n"sv, "add --format chat"}}) {
    options_.inputs.clear();
    input("a.txt", content);
    try {
      pack(options_);
      ADD_FAILURE() << expected;
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(expected));
      EXPECT_THAT(error.what(), HasSubstr("a.txt"));
    }
    EXPECT_FALSE(std::filesystem::exists(options_.output));
  }
  // Named, the format is believed, and bytes are tokens whatever they are; but a token file is never text.
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
  input("b.txt", "{\"other\": 1}\n");
  EXPECT_EQ(pack(options_).num_documents, 2);
}

TEST_F(PackTest, CompressedTextOfEveryKind) {
  std::string prose;
  for (int i = 0; i < 50000; ++i) prose += base::concat("line ", i * 7919 % 10007, "\n");
  input("a.txt.gz", gzip(prose));
  input("b.txt.zst", zstd(prose));
  input("c.gz", gzip("two ") + gzip("members") + std::string(8, '\0'));
  input("d.jsonl.gz", gzip("{\"text\": \"from a line\"}\n"));
  EXPECT_EQ(pack(options_).num_documents, 4);
  EXPECT_THAT(documents(), ElementsAre(prose, prose, "two members", "from a line"));
  std::filesystem::remove(options_.output);
  options_.format = PackFormat::text;
  for (std::string packed : {gzip(prose), zstd(prose)}) {
    for (const size_t size : {size_t{4}, packed.size() / 2, packed.size() - 1}) {
      expect_refused(packed.substr(0, size), "");
    }
    packed[packed.size() / 2] = static_cast<char>(packed[packed.size() / 2] ^ 0x55);
    packed[packed.size() / 2 + 1] = static_cast<char>(packed[packed.size() / 2 + 1] ^ 0x55);
    packed[packed.size() - 3] = static_cast<char>(packed[packed.size() - 3] ^ 0x55);
    expect_refused(packed, "damaged");
  }
}

TEST_F(PackTest, FoldersAreWalkedInOrder) {
  std::filesystem::create_directories(folder_ / "in/b/c");
  std::filesystem::create_directories(folder_ / "in/.git");
  for (const auto& [name, text] : {std::pair{"in/z", "5"},
                                   {"in/b/y", "4"},
                                   {"in/b/c/x", "3"},
                                   {"in/a", "1"},
                                   {"in/.git/hidden", "no"},
                                   {"in/.hidden", "no"}}) {
    base::write_file_atomically(folder_ / name, std::string_view(text));
  }
  std::filesystem::create_directory_symlink(folder_ / "in", folder_ / "in/b/c/circle");
  std::filesystem::create_symlink(folder_ / "in/a", folder_ / "in/zz");
  options_.inputs = {folder_ / "in", folder_ / "in/z"};
  pack(options_);
  EXPECT_THAT(documents(), ElementsAre("1", "3", "4", "5", "5"));
  std::filesystem::create_directory(folder_ / "empty");
  options_.inputs = {folder_ / "empty"};
  EXPECT_THROW(pack(options_), base::DataError);
}

TEST_F(PackTest, InvalidUtf8IsReplacedAndCounted) {
  options_.tokenizer = std::make_shared<ChatTokenizer>();
  options_.append = "none";
  input("a.txt", "caf\xe9 \xff!");
  input("b.jsonl", "{\"text\": \"x\xffy \\ud800 \\\\ud800 \\ud83d\\ude00\"}\n");
  const PackResult result = pack(options_);
  EXPECT_EQ(result.num_invalid, 4);
  EXPECT_THAT(documents(),
              ElementsAre("caf\xef\xbf\xbd \xef\xbf\xbd!", "x\xef\xbf\xbdy \xef\xbf\xbd \\ud800 \xf0\x9f\x98\x80"));
  std::filesystem::remove(options_.output);
  options_.fail_on_invalid = true;
  expect_refused("{\"text\": \"fine\"}\n{\"text\": \"x\xffy\"}\n", "line 2: it is no UTF-8");
  // Bytes are tokens: there is nothing to replace.
  options_.tokenizer = text::make_byte_tokenizer();
  options_.inputs.clear();
  input("a.txt", "caf\xe9");
  pack(options_);
  EXPECT_THAT(documents(), ElementsAre("caf\xe9"));
}

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

TEST_F(PackTest, APipeIsRead) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(folder_ / "pipe") << "through a pipe"; });
  options_.inputs = {folder_ / "pipe"};
  pack(options_);
  writer.join();
  EXPECT_THAT(documents(), ElementsAre("through a pipe"));
}

TEST_F(PackTest, ASeparatorSplitsNoIds) {
  options_.ids = true;
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
  options_.inputs = {"/dev/null"};
  try {
    pack(options_);
    ADD_FAILURE();
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'/dev/null': no documents in it"));
  }
  options_.tokenizer = nullptr;
  EXPECT_THROW(pack(options_), base::ConfigError);
}

}  // namespace
}  // namespace rosa::training
