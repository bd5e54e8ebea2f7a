#include "base/checksum.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

TEST(Checksum, IsXxh3) {
  EXPECT_EQ(to_hex(checksum(std::string_view(""))), "2d06800538d394c2");  // xxhsum -H3 of an empty file
  EXPECT_EQ(to_hex(1), "0000000000000001");
}

TEST(Checksum, FileStreamAndSpanAgree) {
  rosa::testing::TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 7);
  write_file_atomically(folder / "x", text);
  ChecksumStream stream;
  auto bytes = std::as_bytes(std::span(text));
  stream.update(bytes.first(1));
  stream.update(bytes.subspan(1, 3000));
  stream.update(bytes.subspan(3001));
  EXPECT_EQ(stream.value(), checksum(text));
  EXPECT_EQ(file_checksum(folder / "x"), checksum(text));
  text[2500] ^= 1;
  EXPECT_NE(file_checksum(folder / "x"), checksum(text));
}

}  // namespace
}  // namespace rosa::base
