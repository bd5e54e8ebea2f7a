#include "base/printable.h"

#include <gtest/gtest.h>

namespace rosa::base {
namespace {

TEST(Printable, LeavesTextAndShowsControls) {
  EXPECT_EQ(printable("plain text, größer, 語, 🙂, back\\slash"), "plain text, größer, 語, 🙂, back\\slash");
  EXPECT_EQ(printable("\x1b]0;owned\x07\x1b[2J"), "\\x1b]0;owned\\x07\\x1b[2J");
  EXPECT_EQ(printable("a\nb\r\tc\x7f"), "a\\nb\\r\\tc\\x7f");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Printable, ShowsC1AndWhatReordersOrHidesText) {
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\u009b31m");
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\u202e");
  EXPECT_EQ(printable("\xe2\x80\xa8"), "\\u2028");
  EXPECT_EQ(printable("\xe2\x81\xa6"), "\\u2066");
  EXPECT_EQ(printable("\xef\xbb\xbf"), "\\ufeff");
  EXPECT_EQ(printable("\xf3\xa0\x81\x81"), "\\U000e0041");
}

TEST(Printable, ShowsBytesThatAreNoUtf8) {
  EXPECT_EQ(printable("r\xe9/x"), "r\\xe9/x");
  EXPECT_EQ(printable("\xc3"), "\\xc3");                    // cut off
  EXPECT_EQ(printable("\xc0\x9b"), "\\xc0\\x9b");           // a control in two bytes too many
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // half of a pair
  EXPECT_EQ(printable("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");
  EXPECT_FALSE(is_utf8("r\xe9"));
  EXPECT_TRUE(is_utf8("ré\n\x1b"));
  EXPECT_EQ(as_utf8("ré\n\x1b"), "ré\n\x1b");
  EXPECT_EQ(as_utf8("r\xe9\n"), "r\\xe9\\n");
}

TEST(Printable, TwiceIsAsOnce) {
  const std::string once = printable("\x1b[2J\n\xe9\xe2\x80\xae\\");
  EXPECT_EQ(printable(once), once);
  EXPECT_EQ(one_line(once), once);
}

TEST(Printable, ExcerptSaysHowLongItWas) {
  EXPECT_EQ(excerpt("short"), "short");
  EXPECT_EQ(excerpt("abcdef", 3), "abc... (6 bytes)");
  EXPECT_EQ(excerpt("abéd", 3), "ab... (5 bytes)") << "no half characters";
}

TEST(Printable, AMessageIsOneLine) {
  EXPECT_EQ(one_line("two reasons:\n  first\n  second\n"), "two reasons: first; second");
  EXPECT_EQ(one_line("tensor 'x\r\nrosa: rank 0 on host: all is well'"),
            "tensor 'x; rosa: rank 0 on host: all is well'");
  EXPECT_EQ(one_line("\n\n a\x1b\n\n"), "a\\x1b");
  EXPECT_EQ(one_line(""), "");
}

TEST(Printable, AStreamKeepsLinesAndTornCharacters) {
  PrintableStream stream;
  EXPECT_EQ(stream.add("a\n\tb\x1b[2J"), "a\n\tb\\x1b[2J");
  EXPECT_EQ(stream.add("\xe8\xaa"), "");
  EXPECT_EQ(stream.add("\x9e!"), "語!");
  EXPECT_EQ(stream.add("\xff\x80"), "\\xff\\x80");
  EXPECT_EQ(stream.add("\xc3"), "");
  EXPECT_EQ(stream.finish(), "\\xc3");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(printable_lines("a\n\tb\r\x1b\xc3"), "a\n\tb\\r\\x1b\\xc3");
}

}  // namespace
}  // namespace rosa::base
