#include <sys/stat.h>

#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include "tests/training/data_pack_fixture.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(PackTest, WhatOnlyLooksLikeTextIsRefused) {
  expect_refused("[1000,2000]\n", "say --ids");
  options_.inputs.clear();
  using namespace std::string_view_literals;
  std::string tar(600, ' ');
  tar.replace(257, 5, "ustar");
  for (const auto& [content, expected] : {std::pair{std::string_view(tar), "is an archive (tar)"},
                                          {"PK\x03\x04 packed"sv, "is an archive (zip)"},
                                          {"\xfd\x37zXZ packed"sv, "is compressed (xz)"},
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

TEST_F(PackTest, APipeIsRead) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(folder_ / "pipe") << "through a pipe"; });
  options_.inputs = {folder_ / "pipe"};
  pack(options_);
  writer.join();
  EXPECT_THAT(documents(), ElementsAre("through a pipe"));
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
