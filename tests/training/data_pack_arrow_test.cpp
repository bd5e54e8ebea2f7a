// Parquet files, written by Apache Arrow and packed.
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/writer.h>

#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/training/data_pack_fixture.h"

namespace rosa::training {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Arrays = std::vector<std::pair<std::string, std::shared_ptr<arrow::Array>>>;
using Texts = std::vector<std::optional<std::string>>;

template <class Builder>
std::shared_ptr<arrow::Array> finish(Builder& builder) {
  return builder.Finish().ValueOrDie();
}

template <class Builder = arrow::StringBuilder>
std::shared_ptr<arrow::Array> strings(const Texts& texts) {
  Builder builder;
  for (const auto& text : texts) EXPECT_TRUE((text ? builder.Append(*text) : builder.AppendNull()).ok());
  return finish(builder);
}

// Lists of the items between `ends`.
std::shared_ptr<arrow::Array> lists(const std::vector<int32_t>& ends, const std::shared_ptr<arrow::Array>& items) {
  arrow::Int32Builder offsets;
  EXPECT_TRUE(offsets.Append(0).ok());
  for (const int32_t end : ends) EXPECT_TRUE(offsets.Append(end).ok());
  return arrow::ListArray::FromArrays(*finish(offsets), *items).ValueOrDie();
}

template <class Builder, class Number>
std::shared_ptr<arrow::Array> numbers(const std::vector<Number>& values) {
  Builder builder;
  for (const Number value : values) EXPECT_TRUE(builder.Append(value).ok());
  return finish(builder);
}

std::shared_ptr<arrow::Array> structs(const Arrays& fields) {
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  std::vector<std::string> names;
  for (const auto& [name, array] : fields) {
    names.push_back(name);
    arrays.push_back(array);
  }
  return arrow::StructArray::Make(arrays, names).ValueOrDie();
}

class ArrowPackTest : public PackTest {
 protected:
  ArrowPackTest() { options_.parquet_library = std::filesystem::path(ROSA_BINARY_DIR) / "lib/librosa_parquet.so"; }

  void write(const std::string& name, const Arrays& columns, int64_t rows_in_group = 1000,
             arrow::Compression::type compression = arrow::Compression::UNCOMPRESSED) {
    std::vector<std::shared_ptr<arrow::Field>> fields;
    std::vector<std::shared_ptr<arrow::Array>> arrays;
    for (const auto& [column, array] : columns) {
      fields.push_back(arrow::field(column, array->type()));
      arrays.push_back(array);
    }
    const auto table = arrow::Table::Make(arrow::schema(fields), arrays);
    const auto file = arrow::io::FileOutputStream::Open((folder_ / name).string()).ValueOrDie();
    const auto properties = ::parquet::WriterProperties::Builder()
                                .compression(compression)
                                ->data_pagesize(4096)
                                ->enable_page_checksum()
                                ->build();
    // As pyarrow does, so that large strings and dictionaries come back as such.
    const auto arrow_properties = ::parquet::ArrowWriterProperties::Builder().store_schema()->build();
    const arrow::Status status = ::parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), file, rows_in_group,
                                                              properties, arrow_properties);
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_TRUE(file->Close().ok());
    options_.inputs.push_back(folder_ / name);
  }
  template <class Matcher>
  void expect_error(const Matcher& matcher) {
    try {
      pack(options_);
      ADD_FAILURE() << "packed";
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), matcher);
      EXPECT_THAT(error.what(), HasSubstr(options_.inputs.front().string()));
    }
    EXPECT_FALSE(std::filesystem::exists(options_.output));
  }
};

TEST_F(ArrowPackTest, RowsAreDocuments) {
  write("a.parquet", {{"id", numbers<arrow::Int64Builder, int64_t>({1, 2, 3, 4})},
                      {"text", strings({"first", "two\nlines", std::nullopt, ""})}});
  const PackResult result = pack(options_);
  EXPECT_THAT(documents(), ElementsAre("first", "two\nlines"));
  EXPECT_EQ(result.num_null, 1);
  EXPECT_EQ(result.num_text_bytes, 14);
}

TEST_F(ArrowPackTest, EveryKindOfString) {
  const Texts texts = {"one", std::nullopt, "two", "one"};
  arrow::DictionaryBuilder<arrow::StringType> dictionary;
  for (const auto& text : texts) ASSERT_TRUE((text ? dictionary.Append(*text) : dictionary.AppendNull()).ok());
  const auto string = strings(texts);
  write("a.dat", {{"large", strings<arrow::LargeStringBuilder>(texts)},
                  {"dictionary", finish(dictionary)},
                  {"meta", structs({{"body", string}, {"url", string}})},
                  {"a.b", string}});
  for (const char* column : {"large", "dictionary", "meta.body", "a.b"}) {
    options_.parquet_column = column;
    const PackResult result = pack(options_);
    EXPECT_THAT(documents(), ElementsAre("one", "two", "one")) << column;
    EXPECT_EQ(result.num_null, 1) << column;
  }
}

TEST_F(ArrowPackTest, ANullStructHoldsNoText) {
  const auto body = strings({"one", "two"});
  arrow::TypedBufferBuilder<bool> valid;
  ASSERT_TRUE(valid.Append(true).ok() && valid.Append(false).ok());
  const auto meta = arrow::StructArray::Make({body}, {std::string("body")}, valid.Finish().ValueOrDie()).ValueOrDie();
  write("a.parquet", {{"meta", meta}});
  options_.parquet_column = "meta.body";
  EXPECT_EQ(pack(options_).num_null, 1);
  EXPECT_THAT(documents(), ElementsAre("one"));
}

// Of every size, over pages, batches and row groups, in every compression.
TEST_F(ArrowPackTest, ManyRows) {
  std::mt19937 random(5);
  Texts texts;
  std::vector<std::string> expected;
  for (int i = 0; i < 8000; ++i) {
    const size_t size = i % 5000 == 77 ? 1'500'000 : 1 + random() % 300;
    expected.push_back(std::to_string(i) + std::string(size, static_cast<char>('a' + random() % 26)));
    texts.emplace_back(expected.back());
    if (i % 7 == 0) texts.emplace_back(std::nullopt);
  }
  const auto array = strings(texts);
  for (const auto compression : {arrow::Compression::UNCOMPRESSED, arrow::Compression::SNAPPY, arrow::Compression::GZIP,
                                 arrow::Compression::ZSTD, arrow::Compression::BROTLI, arrow::Compression::LZ4}) {
    options_.inputs.clear();
    write("a.parquet", {{"text", array}}, 2501, compression);
    PackProgress last;
    options_.num_threads = 3;
    options_.on_progress = [&](const PackProgress& progress) { last = progress; };
    EXPECT_EQ(pack(options_).num_null, 1143);
    ASSERT_EQ(documents(), expected) << static_cast<int>(compression);
    EXPECT_EQ(last.num_bytes, static_cast<int64_t>(std::filesystem::file_size(folder_ / "a.parquet")));
    EXPECT_EQ(last.num_bytes, last.num_bytes_total);
  }
}

TEST_F(ArrowPackTest, BesideOtherInputs) {
  const std::filesystem::path folder = folder_ / "d";
  std::filesystem::create_directory(folder);
  write("d/b.parquet", {{"text", strings({"row", std::nullopt})}});
  write("d/d.parquet", {{"text", strings({std::nullopt})}});
  base::write_file_atomically(folder / "a.jsonl", R"({"text":"line"})");
  base::write_file_atomically(folder / "c.txt", "text");
  options_.inputs = {folder};
  EXPECT_EQ(pack(options_).num_null, 2);
  EXPECT_THAT(documents(), ElementsAre("line", "row", "text"));
}

TEST_F(ArrowPackTest, NoRows) {
  write("a.parquet", {{"text", strings({})}});
  expect_error(HasSubstr("no documents in it"));
  options_.inputs.clear();
  write("b.parquet", {{"text", strings({std::nullopt, std::nullopt})}});
  expect_error(HasSubstr("no documents in it"));
}

TEST_F(ArrowPackTest, AnotherColumnIsRefusedByName) {
  const auto text = strings({"a"});
  write("a.parquet", {{"content", text},
                      {"title", text},
                      {"meta", structs({{"body", text}})},
                      {"score", numbers<arrow::DoubleBuilder, double>({1})},
                      {"raw", strings<arrow::BinaryBuilder>({"a"})}});
  expect_error(HasSubstr("has no column 'text'"));
  expect_error(HasSubstr("it has content, title, meta.body, score, raw"));
  options_.parquet_column = "contnet";
  expect_error(HasSubstr("did you mean 'content'?"));
  options_.parquet_column = "meta.bdy";
  expect_error(HasSubstr("did you mean 'meta.body'?"));
  options_.parquet_column = "score";
  expect_error(HasSubstr("has in its column 'score' double, expected strings"));
  options_.parquet_column = "raw";
  expect_error(HasSubstr("binary, expected strings"));
  options_.parquet_column = "meta";
  expect_error(HasSubstr("struct<body: string>, expected strings"));
  options_.inputs.clear();
  write("b.parquet", {{"text", text}, {"text", text}});
  options_.parquet_column.clear();
  expect_error(HasSubstr("has two columns 'text'"));
}

TEST_F(ArrowPackTest, InvalidUtf8) {
  write("a.parquet", {{"text", strings({"good",
                                        "b\xff"
                                        "d"})}});
  options_.tokenizer = std::make_shared<ChatTokenizer>();
  options_.append = "none";
  EXPECT_EQ(pack(options_).num_invalid, 1);
  std::filesystem::remove(options_.output);
  options_.fail_on_invalid = true;
  expect_error(HasSubstr("row 1: it is no UTF-8"));
}

class ArrowIdsTest : public ArrowPackTest {
 protected:
  ArrowIdsTest() {
    options_.ids = true;
    options_.tokenizer = nullptr;
    options_.vocabulary_size = 256;
  }
};

TEST_F(ArrowIdsTest, ListsOfEveryInteger) {
  write("a.parquet", {{"input_ids", lists({2, 2, 3}, numbers<arrow::Int64Builder, int64_t>({'a', 'b', 'c'}))},
                      {"int32", lists({2, 2, 3}, numbers<arrow::Int32Builder, int32_t>({'a', 'b', 'c'}))},
                      {"uint16", lists({2, 2, 3}, numbers<arrow::UInt16Builder, uint16_t>({'a', 'b', 'c'}))},
                      {"uint64", lists({2, 2, 3}, numbers<arrow::UInt64Builder, uint64_t>({'a', 'b', 'c'}))}});
  for (const char* column : {"", "int32", "uint16", "uint64"}) {
    options_.parquet_column = column;
    pack(options_);
    EXPECT_THAT(documents(), ElementsAre("ab", "c")) << column;
  }
}

TEST_F(ArrowIdsTest, WhatIsNoIdIsRefused) {
  write("a.parquet", {{"input_ids", lists({1, 2}, numbers<arrow::Int64Builder, int64_t>({1, -1}))},
                      {"large", lists({1, 2}, numbers<arrow::UInt64Builder, uint64_t>({1, ~uint64_t{0}}))},
                      {"vocabulary", lists({1, 2}, numbers<arrow::Int64Builder, int64_t>({1, 256}))},
                      {"null", lists({1, 2},
                                     [] {
                                       arrow::Int64Builder builder;
                                       EXPECT_TRUE(builder.Append(1).ok() && builder.AppendNull().ok());
                                       return finish(builder);
                                     }())},
                      {"text", strings({"a", "b"})}});
  for (const char* column : {"input_ids", "large", "null"}) {
    options_.parquet_column = column;
    expect_error(HasSubstr("has no token id as entry 0 of row 1"));
  }
  options_.parquet_column = "vocabulary";
  expect_error(HasSubstr("row 1: token 0 of the document is 256"));
  options_.parquet_column = "text";
  expect_error(HasSubstr("string, expected lists of integers"));
}

class ArrowChatTest : public ArrowPackTest {
 protected:
  ArrowChatTest() {
    options_.tokenizer = std::make_shared<ChatTokenizer>();
    options_.format = PackFormat::chat;
  }
  // Two conversations, of two turns and of one.
  static std::shared_ptr<arrow::Array> conversations(const Texts& contents) {
    return lists({2, 3}, structs({{"role", strings({"user", "assistant", "assistant"})},
                                  {"content", strings(contents)},
                                  {"tool_calls", strings({std::nullopt, std::nullopt, std::nullopt})},
                                  {"weight", numbers<arrow::FloatBuilder, float>({1, 1, 0})}}));
  }
};

TEST_F(ArrowChatTest, EqualsJsonLines) {
  const std::string control("a\"\\\n\t\x01 \xf0\x9f\x98\x80");
  write("a.parquet", {{"messages", conversations({control, "yes", "no"})}, {"tools", strings({std::nullopt, ""})}});
  PackResult result = pack(options_);
  EXPECT_EQ(result.num_counted, 4);  // "yes" and the end of the turn
  const std::string from_parquet = read(options_.output);
  options_.inputs.clear();
  input("a.jsonl",
        R"({"messages":[{"role":"user","content":"a\"\\\n\t\u0001 😀"},{"role":"assistant","content":"yes"}]})"
        "\n"
        R"({"messages":[{"role":"assistant","content":"no","weight":0}]})");
  pack(options_);
  EXPECT_EQ(read(options_.output), from_parquet);
}

TEST_F(ArrowChatTest, WhatWouldBeLostIsRefusedByName) {
  write("a.parquet", {{"messages", conversations({"a", "b", "c"})}, {"tools", strings({"", "search"})}});
  expect_error(HasSubstr("row 1: the conversation has 'tools'"));
  options_.inputs.clear();
  write("b.parquet", {{"messages", conversations({"a", "b", std::nullopt})}});
  expect_error(HasSubstr("row 1: message 1 has no 'content'"));
  options_.inputs.clear();
  write("c.parquet", {{"messages", strings({"a"})}});
  expect_error(HasSubstr("string, expected lists of structs"));
  options_.inputs.clear();
  write("d.parquet", {{"messages", lists({1}, structs({{"role", strings<arrow::BinaryBuilder>({"user"})}}))}});
  expect_error(HasSubstr("a part of type binary"));
}

class HostileParquetTest : public ArrowPackTest {
 protected:
  // Without waiting for the disk.
  void rewrite(const std::string& bytes) const { std::ofstream(folder_ / "a.parquet", std::ios::binary) << bytes; }
  // Packs the bytes: an error that names the file, or the texts.
  void pack_bytes(const std::string& bytes) {
    rewrite(bytes);
    try {
      pack(options_);
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("a.parquet"));
    }
  }
};

TEST_F(HostileParquetTest, CutOffAnywhere) {
  write("a.parquet", {{"text", strings({"one", "two", "three"})}}, 2, arrow::Compression::ZSTD);
  const std::string bytes = read(folder_ / "a.parquet");
  for (size_t size = 4; size < bytes.size(); ++size) {
    rewrite(bytes.substr(0, size));
    expect_error(AnyOf(HasSubstr("is a damaged Parquet file"), HasSubstr("is named .parquet")));
  }
}

TEST_F(HostileParquetTest, AnyByteChanged) {
  write("a.parquet", {{"text", strings({"one", std::nullopt, "three"})}, {"n", strings({"1", "2", "3"})}}, 2,
        arrow::Compression::SNAPPY);
  const std::string bytes = read(folder_ / "a.parquet");
  std::mt19937 random(9);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ (1 + random() % 255));
    pack_bytes(changed);
  }
}

// The pages have checksums.
TEST_F(HostileParquetTest, AChangedTextIsFound) {
  write("a.parquet", {{"text", strings({"a text that is long enough to be found"})}});
  std::string bytes = read(folder_ / "a.parquet");
  const size_t at = bytes.find("long enough");
  ASSERT_NE(at, bytes.npos);
  bytes[at] = 'L';
  rewrite(bytes);
  expect_error(HasSubstr("is a damaged Parquet file"));
}

}  // namespace
}  // namespace rosa::training
