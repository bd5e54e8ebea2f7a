// What pack() says of Parquet files where nothing can read them. tests/training/data_pack_arrow_test.cpp reads them.
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <thread>

#include "tests/training/data_pack_fixture.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ParquetRefusalTest : public PackTest {
 protected:
  template <class Error>
  void expect_refused(const std::string& reason) {
    try {
      pack(options_);
      ADD_FAILURE() << reason;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(reason));
      EXPECT_THAT(error.what(), HasSubstr(options_.inputs.front().string()));
    }
    EXPECT_FALSE(std::filesystem::exists(options_.output));
  }
};

TEST_F(ParquetRefusalTest, WithoutTheLibrary) {
  input("a.dat", "PAR1 and so on");
  expect_refused<base::ConfigError>("is a Parquet file, and this rosa was built without Apache Arrow");
  options_.parquet_library = folder_ / "absent.so";
  expect_refused<base::ConfigError>("is a Parquet file, and this rosa was built without Apache Arrow");
}

TEST_F(ParquetRefusalTest, ALibraryThatCannotBeLoaded) {
  base::write_file_atomically(folder_ / "text.so", "no library");
  options_.parquet_library = folder_ / "text.so";
  input("a.dat", "PAR1 and so on");
  expect_refused<base::ConfigError>("what reads them can't be loaded");
}

TEST_F(ParquetRefusalTest, WhatOnlyHasTheName) {
  input("a.parquet", "text");
  expect_refused<base::DataError>("is named .parquet, but is no Parquet file");
  base::write_file_atomically(folder_ / "a.parquet", "");
  expect_refused<base::DataError>("is named .parquet, but is no Parquet file");
}

TEST_F(ParquetRefusalTest, AnotherFormat) {
  input("a.dat", "PAR1 and so on");
  options_.format = PackFormat::jsonl;
  expect_refused<base::DataError>("leave out --format");
  options_.format = PackFormat::text;
  pack(options_);
  EXPECT_THAT(documents(), ElementsAre("PAR1 and so on"));
}

TEST_F(ParquetRefusalTest, APipe) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  options_.inputs = {folder_ / "pipe"};
  std::thread writer([&] { std::ofstream(folder_ / "pipe") << "PAR1 and so on"; });
  expect_refused<base::DataError>("give a file, not a pipe");
  writer.join();
}

}  // namespace
}  // namespace rosa::training
