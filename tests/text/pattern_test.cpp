// Expressions as Oniguruma understands them, where PCRE2 would find something else; what cannot be made equal is
// refused. What Oniguruma finds was asked of PyPI's `tokenizers`.
#include "text/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"

namespace rosa::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> found(const std::string& expression, const std::string& text) {
  const Pattern pattern(expression, "here");
  Pattern::Matches matches(pattern);
  std::vector<std::string> result;
  size_t begin = 0, end = 0;
  for (size_t at = 0; at < text.size() && matches.find(text, at, &begin, &end); at = std::max(end, at + 1)) {
    if (end > begin) result.push_back(text.substr(begin, end - begin));
  }
  return result;
}

std::string refusal(const std::string& expression) {
  try {
    const Pattern pattern(expression, "here");
    return "";
  } catch (const base::DataError& error) {
    return error.what();
  }
}

TEST(Pattern, WordsInAClassHaveNoNumbersAmongSigns) {
  EXPECT_THAT(found("\\w", "a\u00b2\u00bd"), ElementsAre("a", "\u00b2", "\u00bd"));
  EXPECT_THAT(found("[\\w]", "a\u00b2\u00bd"), ElementsAre("a"));
  EXPECT_THAT(found("[^\\w]", "a\u00b2\u00bd"), ElementsAre("\u00b2", "\u00bd"));
}

// PCRE2 10.42 finds nothing where it optimises.
TEST(Pattern, OptimisationsMissNoMatch) {
  EXPECT_THAT(found("(?=a)\\P{L}?a", "fak"), ElementsAre("a"));
  EXPECT_THAT(found("[^ba]?(?:b)?+s", "s\u00e9"), ElementsAre("s"));
  EXPECT_THAT(found("(?>[\\p{L}]{2,}\u6f22*?[^\u6f22])\\S", "lllF1"), IsEmpty());
}

TEST(Pattern, CaseIsDisregardedForAscii) {
  EXPECT_THAT(found("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "I'LL 'S '\u017f"), ElementsAre("'LL", "'S", "'\u017f"));
  EXPECT_THAT(found("(?i)[k-m]", "K\u212aL"), ElementsAre("K", "\u212a", "L"));
  EXPECT_THAT(found("s(?i:s)|f", "ss SS sS ff"), ElementsAre("ss", "sS", "f", "f"));
}

TEST(Pattern, OneCharacterForTwoIsRefused) {
  for (const char* expression : {"(?i)ss", "(?i:ss)", "(?i)s(?:s)", "(?i)s{1}s", "(?i)\\x73s", "(?i)s\\u0073",
                                 "(?i)S\\x53", "(?i)ffi", "(?i)stop", "a(?:b(?i:c(?:st)))"}) {
    EXPECT_THAT(refusal(expression), HasSubstr("without regard to case")) << expression;
  }
  for (const char* expression : {"(?i)\u00df", "(?i)[\u00e0-\u00ff]", "(?i)\\x{df}", "(?i)[\\u00df]"}) {
    EXPECT_THAT(refusal(expression), HasSubstr("not ASCII")) << expression;
  }
  for (const char* expression : {"(?i)[\\p{L}]", "(?i)[^\\P{N}]", "(?i:[\\w])", "(?i)[\\S]"}) {
    EXPECT_THAT(refusal(expression), HasSubstr("in a class without regard to case")) << expression;
  }
  for (const char* expression : {"ss", "(?i:s)ss\u00df", "(?i:a)[\\p{L}\u00df]", "(?i)s|s", "(?i)[^\\s\\d]"}) {
    EXPECT_EQ(refusal(expression), "") << expression;
  }
}

TEST(Pattern, NamesThatMeanOtherCharactersAreRefused) {
  for (const char* name : {"Cyrillic", "Arabic", "Devanagari", "Alphabetic", "Lowercase", "Letter", "Alpha", "han",
                           "Xan", "Emoji", "Script=Han", "L&"}) {
    const std::string expression = std::string("\\p{") + name + "}";
    EXPECT_THAT(refusal(expression), HasSubstr(expression)) << name;
  }
  for (const char* name : {"L", "^Lu", "Nd", "Han", "Hiragana", "Latin", "Thai", "Any", "White_Space"}) {
    EXPECT_EQ(refusal(std::string("\\p{") + name + "}"), "") << name;
  }
}

TEST(Pattern, WhatTheTwoReadDifferentlyIsRefused) {
  for (const char* expression :
       {"\\h",     "\\X",    "\\R",      "\\N",    "\\K",    "\\G",  "\\b",         "\\B",        "\\Z",
        "\\Qa\\E", "\\0",    "(a)\\1",   "\\x80",  "\\x4",   "\\pL", "[[:alpha:]]", "[a&&b]",     "[a[bc]]",
        "[]a]",    "[\\W]",  "[\\b]",    "a{,2}",  "a{1}+",  "{",    "a{b}",        "(?m)a",      "(?x)a",
        "(?<n>a)", "(?#x)a", "(?i-m:a)", "a(?i)b", "(?-i)a", ")",    "(*FAIL)",     "(?:a|^){2}", "(a*){2,3}"}) {
    EXPECT_THAT(refusal(expression), HasSubstr("here: the regular expression")) << expression;
  }
}

}  // namespace
}  // namespace rosa::text
