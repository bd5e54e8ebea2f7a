#include "base/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/goldens.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

using ::testing::HasSubstr;

class SafetensorsTest : public ::testing::Test {
 protected:
  std::filesystem::path write_raw(const std::string& header, const std::string& data, int64_t claimed = -1) {
    uint64_t length = claimed < 0 ? header.size() : static_cast<uint64_t>(claimed);
    std::string bytes(8, '\0');
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
    std::filesystem::path path = folder_ / "file.safetensors";
    std::ofstream(path, std::ios::binary) << bytes << header << data;
    return path;
  }

  void expect_refused(const std::string& header, const std::string& data, const std::string& reason,
                      int64_t claimed = -1) {
    std::filesystem::path path = write_raw(header, data, claimed);
    try {
      SafetensorsFile file(path);
      ADD_FAILURE() << "accepted: " << header;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(reason)) << header;
      EXPECT_THAT(error.what(), HasSubstr("file.safetensors")) << header;
    }
  }

  rosa::testing::TemporaryFolder folder_;
};

TEST_F(SafetensorsTest, ReturnsWhatWasWritten) {
  std::vector<float> numbers(6);
  std::iota(numbers.begin(), numbers.end(), 0.5f);
  std::vector<std::byte> flags(3, std::byte{1});
  std::map<std::string, TensorView> tensors;
  tensors["a.flags"] = {"BOOL", {3}, flags};
  tensors["b.numbers"] = {"F32", {2, 3}, std::as_bytes(std::span(numbers))};
  tensors["c.empty"] = {"I64", {0, 7}, {}};
  tensors["d.scalar"] = {"F32", {}, std::as_bytes(std::span(numbers).first(1))};
  write_safetensors(folder_ / "x.safetensors", tensors, {{"note", "quotes \" and \n newlines"}});

  SafetensorsFile file(folder_ / "x.safetensors");
  EXPECT_EQ(file.metadata().at("note"), "quotes \" and \n newlines");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const TensorView& read = file.at(name);
    EXPECT_EQ(read.dtype, tensor.dtype);
    EXPECT_EQ(read.shape, tensor.shape);
    EXPECT_TRUE(std::ranges::equal(read.bytes, tensor.bytes)) << name;
  }
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.at("b.numbers").bytes.data()) % 4, 0u);
  EXPECT_THROW(file.at("b.number"), DataError);
}

TEST_F(SafetensorsTest, EqualContentGivesEqualBytes) {
  std::map<std::string, TensorView> tensors;
  std::vector<std::byte> bytes(8, std::byte{7});
  tensors["x"] = {"I64", {1}, bytes};
  write_safetensors(folder_ / "1", tensors, {{"b", "2"}, {"a", "1"}});
  write_safetensors(folder_ / "2", tensors, {{"a", "1"}, {"b", "2"}});
  EXPECT_EQ(read_file(folder_ / "1", 1000), read_file(folder_ / "2", 1000));
}

TEST_F(SafetensorsTest, WriterRefusesBytesThatDoNotFit) {
  std::vector<std::byte> bytes(8);
  EXPECT_THROW(write_safetensors(folder_ / "x", {{"x", {"F32", {3}, bytes}}}), ArgumentError);
  EXPECT_THROW(write_safetensors(folder_ / "x", {{"x", {"F31", {2}, bytes}}}), ArgumentError);
  EXPECT_THROW(write_safetensors(folder_ / "x", {{"x", {"F32", {-1, -2}, bytes}}}), ArgumentError);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(SafetensorsTest, RefusesTruncatedFiles) {
  std::ofstream(folder_ / "file.safetensors") << "short";
  EXPECT_THROW(SafetensorsFile(folder_ / "file.safetensors"), DataError);
  std::ofstream(folder_ / "file.safetensors", std::ios::trunc) << "";
  EXPECT_THROW(SafetensorsFile(folder_ / "file.safetensors"), DataError);
  EXPECT_THROW(SafetensorsFile(folder_ / "absent"), FileError);
  EXPECT_THROW(SafetensorsFile(folder_.path()), FileError);
  std::string header = R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
  expect_refused(header, "abc", "truncated");
  expect_refused(header, "", "only", 1000);
  expect_refused(header, "", "at most", 100'000'001);
  expect_refused(header, "", "at most", std::numeric_limits<int64_t>::max());
  EXPECT_NO_THROW(SafetensorsFile(write_raw(header, "abcd")));
}

TEST_F(SafetensorsTest, EveryTruncationOfAFileIsRefused) {
  std::vector<std::byte> bytes(24);
  write_safetensors(folder_ / "whole",
                    {{"x", {"F32", {3}, std::span(bytes).first(12)}}, {"y", {"U8", {12}, std::span(bytes).last(12)}}});
  std::string whole = read_file(folder_ / "whole", 10000);
  for (size_t length = 0; length < whole.size(); ++length) {
    std::ofstream(folder_ / "part", std::ios::binary | std::ios::trunc) << whole.substr(0, length);
    EXPECT_THROW(SafetensorsFile(folder_ / "part"), DataError) << length;
  }
}

TEST_F(SafetensorsTest, RefusesWhatIsNoHeader) {
  expect_refused("", "", "no valid JSON");
  expect_refused("{\"x\":", "", "no valid JSON");
  expect_refused("[]", "", "no JSON object");
  expect_refused("17", "", "no JSON object");
  expect_refused("null", "", "no JSON object");
  expect_refused("{}{}", "", "no valid JSON");
  expect_refused("{\"\xff\":{}}", "", "no valid JSON");
  expect_refused(std::string("{\"x\0\":{}}", 9), "", "no valid JSON");
  expect_refused(R"({"x":[1]})", "", "not described by an object");
  expect_refused(R"({"__metadata__":3})", "", "no object");
  expect_refused(R"({"__metadata__":{"a":3}})", "", "no text");
  expect_refused(std::string(200000, '['), "", "nested deeper");
  std::string deep = "{\"x\":";
  for (int level = 0; level < 100000; ++level) deep += "{\"x\":";
  expect_refused(deep, "", "nested deeper");
}

TEST_F(SafetensorsTest, EveryDtypeOfTheFormatIsRead) {
  const std::vector<std::pair<std::string, int>> bits = {
      {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"BOOL", 8},        {"U8", 8},          {"I8", 8},
      {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"U16", 16},
      {"I16", 16},    {"F16", 16},    {"BF16", 16},   {"U32", 32},        {"I32", 32},        {"F32", 32},
      {"U64", 64},    {"I64", 64},    {"F64", 64},    {"C64", 64}};
  for (const auto& [dtype, size] : bits) {
    const std::string header =
        concat("{\"x\":{\"dtype\":\"", dtype, "\",\"shape\":[2,4],\"data_offsets\":[0,", size, "]}}");
    EXPECT_EQ(SafetensorsFile(write_raw(header, std::string(static_cast<size_t>(size), 'a'))).at("x").dtype, dtype);
  }
  expect_refused(R"({"x":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", "a", "expected whole bytes");
  EXPECT_EQ(dtype_size_bytes("F4"), 0);
  EXPECT_EQ(dtype_size_bytes("BF16"), 2);
}

TEST_F(SafetensorsTest, RefusesDuplicateNames) {
  std::string tensor = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  expect_refused("{\"x\":" + tensor + ",\"x\":" + tensor + "}", "a", "twice");
  expect_refused(R"({"__metadata__":{"a":"1","a":"2"}})", "", "twice");
  expect_refused(R"({"x":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "a", "twice");
}

TEST_F(SafetensorsTest, RefusesBadTensors) {
  auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"x\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  expect_refused(tensor("\"F33\"", "[1]", "[0,4]"), "abcd", "unknown dtype");
  expect_refused(tensor("32", "[1]", "[0,4]"), "abcd", "no dtype");
  expect_refused(R"({"x":{"shape":[1],"data_offsets":[0,1]}})", "a", "no dtype");
  expect_refused(R"({"x":{"dtype":"U8","data_offsets":[0,1]}})", "a", "no list 'shape'");
  expect_refused(R"({"x":{"dtype":"U8","shape":[1]}})", "a", "no list 'data_offsets'");
  expect_refused(tensor("\"U8\"", "4", "[0,4]"), "abcd", "no list");
  expect_refused(tensor("\"U8\"", "[-4]", "[0,4]"), "abcd", "-4");
  expect_refused(tensor("\"U8\"", "[4.0]", "[0,4]"), "abcd", "4.0");
  expect_refused(tensor("\"U8\"", "[\"4\"]", "[0,4]"), "abcd", "expected a whole number");
  expect_refused(tensor("\"U8\"", "[18446744073709551615]", "[0,4]"), "abcd", "2^63");
  expect_refused(tensor("\"U8\"", "[4]", "[0,4,4]"), "abcd", "[begin, end]");
  expect_refused(tensor("\"U8\"", "[4]", "[4,0]"), "abcd", "[begin, end]");
  expect_refused(tensor("\"U8\"", "[5]", "[0,5]"), "abcd", "truncated");
  expect_refused(tensor("\"U8\"", "[4]", "[9223372036854775803,9223372036854775807]"), "abcd", "truncated");
  expect_refused(tensor("\"F32\"", "[4]", "[0,4]"), "abcd", "has 4 bytes, expected 16");
  // Both products are 4 modulo 2^64.
  expect_refused(tensor("\"U8\"", "[4294967296,4294967296,4]", "[0,4]"), "abcd", "more than 2^63");
  expect_refused(tensor("\"U8\"", "[6148914691236517206,6]", "[0,4]"), "abcd", "more than 2^63");
  expect_refused(tensor("\"U8\"", "[9223372036854775807,0]", "[0,4]"), "abcd", "expected 0");
}

TEST_F(SafetensorsTest, RefusesOverlapsAndHoles) {
  auto pair = [](const std::string& first, const std::string& second) {
    return R"({"x":{"dtype":"U8","shape":[2],"data_offsets":)" + first +
           R"(},"y":{"dtype":"U8","shape":[2],"data_offsets":)" + second + "}}";
  };
  EXPECT_NO_THROW(SafetensorsFile(write_raw(pair("[2,4]", "[0,2]"), "abcd")));
  expect_refused(pair("[0,2]", "[1,3]"), "abcd", "overlaps");
  expect_refused(pair("[0,2]", "[0,2]"), "abcd", "overlaps");
  expect_refused(pair("[0,2]", "[3,5]"), "abcde", "unused bytes before");
  expect_refused(pair("[1,3]", "[3,5]"), "abcde", "unused bytes before");
  expect_refused(pair("[0,2]", "[2,4]"), "abcde", "unused bytes at its end");
  expect_refused("{}", "a", "unused bytes");
  EXPECT_NO_THROW(SafetensorsFile(write_raw("{}", "")));
}

TEST_F(SafetensorsTest, FlippedHeaderBytesNeverCrash) {
  std::vector<std::byte> bytes(16);
  write_safetensors(folder_ / "whole",
                    {{"x", {"F32", {3}, std::span(bytes).first(12)}}, {"y", {"U8", {4}, std::span(bytes).last(4)}}},
                    {{"a", "b"}});
  std::string whole = read_file(folder_ / "whole", 10000);
  for (size_t place = 0; place < whole.size(); ++place) {
    for (char value : {'\0', '9', '"', '}', '[', '\xff'}) {
      std::string damaged = whole;
      damaged[place] = value;
      std::ofstream(folder_ / "damaged", std::ios::binary | std::ios::trunc) << damaged;
      try {
        SafetensorsFile file(folder_ / "damaged");
        for (const auto& [name, tensor] : file.tensors()) {
          EXPECT_LE(tensor.bytes.size(), 16u) << name;
        }
      } catch (const DataError&) {
      }
    }
  }
}

TEST_F(SafetensorsTest, ReadsEveryGolden) {
  int count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(rosa::testing::goldens_folder())) {
    if (entry.path().extension() != ".safetensors") continue;
    EXPECT_FALSE(SafetensorsFile(entry.path()).tensors().empty()) << entry.path();
    ++count;
  }
  EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace rosa::base
