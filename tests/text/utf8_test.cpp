#include "text/utf8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rosa::text {
namespace {

const std::string kReplacement = "\xef\xbf\xbd";

std::string as_utf8(std::string_view bytes) {
  std::string text;
  append_as_utf8(bytes, text);
  return text;
}

TEST(Utf8, CharactersOfAllSizesStayAsTheyAre) {
  for (const std::string_view text : {"a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xef\xbf\xbf",
                                      "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(as_utf8(text), text);
  }
}

// The examples of Unicode 15, tables 3-8 to 3-11: how many U+FFFD stand for what is no UTF-8.
TEST(Utf8, EachMaximalPartBecomesOneReplacement) {
  const auto times = [](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += kReplacement;
    return text;
  };
  EXPECT_EQ(as_utf8("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41"), times(8) + "A");
  EXPECT_EQ(as_utf8("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41"), times(8) + "A");
  EXPECT_EQ(as_utf8("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42"), times(5) + "A" + times(2) + "B");
  EXPECT_EQ(as_utf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"), times(4) + "A");
}

TEST(Utf8, OnlyWhatCanStillBecomeACharacterIsTorn) {
  const std::vector<std::pair<std::string_view, size_t>> cases = {
      {"", 0},         {"a", 0},    {"a\xc3", 1},        {"a\xc3\xa4", 0},
      {"\xe2\x82", 2}, {"\xe2", 1}, {"\xf0\x9f\x98", 3}, {"\xf0\x9f", 2},
      {"\xed\xa0", 0}, {"\xc0", 0}, {"\x80", 0},         {"\xf5", 0}};
  for (const auto& [bytes, size] : cases) EXPECT_EQ(torn_size(bytes), size) << as_utf8(bytes);
}

}  // namespace
}  // namespace rosa::text
