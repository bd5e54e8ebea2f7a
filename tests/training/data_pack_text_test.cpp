#include <string>

#include "tests/training/data_pack_fixture.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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

TEST_F(PackTest, ProseIsText) {
  input("a.txt", "[1] A footnote.\n");
  input("b.txt", "{\"other\": 1}\n");
  EXPECT_EQ(pack(options_).num_documents, 2);
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

}  // namespace
}  // namespace rosa::training
