// Markup, numbers, tables: what hostile texts and odd values become.
#include "report/markup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "report/numbers.h"
#include "report/table.h"

namespace rosa::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ReportMarkup, EscapesWhatWouldBeMarkup) {
  EXPECT_EQ(escape("a<b> & \"c\" 'd'"), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  EXPECT_EQ(escape("µ ± → 漢 😀"), "µ ± → 漢 😀");
}

TEST(ReportMarkup, ReplacesWhatXmlForbids) {
  EXPECT_EQ(escape(std::string("a\0b", 3)), "a\uFFFDb");
  EXPECT_EQ(escape("\x1b[31m"), "\uFFFD[31m");
  EXPECT_EQ(escape("tab\tline\n"), "tab\tline\n");
  EXPECT_EQ(escape("\xff"), "\uFFFD");
  EXPECT_EQ(escape("\xc3"), "\uFFFD");                                // cut off
  EXPECT_EQ(escape("\xc0\xaf"), "\uFFFD\uFFFD");                      // a slash in too many bytes
  EXPECT_EQ(escape("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");            // half of a surrogate pair
  EXPECT_EQ(escape("\xef\xbf\xbf"), "\uFFFD\uFFFD\uFFFD");            // U+FFFF
  EXPECT_EQ(escape("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
}

TEST(ReportMarkup, CharactersAreThoseOfUtf8) {
  EXPECT_THAT(characters("1µ漢😀"), ElementsAre("1", "µ", "漢", "😀"));
  EXPECT_THAT(characters(""), ElementsAre());
}

TEST(ReportMarkup, ClosesInOrderAndNotTooOften) {
  Markup markup;
  markup.open("a", {{"title", "\"><script>"}}).element("b", {{"x", 0.5}}, "<i>").leaf("br").close();
  EXPECT_EQ(markup.str(), "<a title=\"&quot;&gt;&lt;script&gt;\"><b x=\"0.5\">&lt;i&gt;</b><br/></a>");
  EXPECT_THROW(markup.close(), base::ArgumentError);
  markup.open("c");
  EXPECT_THROW(markup.str(), base::ArgumentError);
  EXPECT_THROW(Markup().style_sheet("a{}</style>"), base::ArgumentError);
}

TEST(ReportMarkup, CoordinatesAreShortAndFinite) {
  EXPECT_EQ(coordinate(12), "12");
  EXPECT_EQ(coordinate(0.1 + 0.2), "0.3");
  EXPECT_EQ(coordinate(-0.001), "0");
  EXPECT_EQ(coordinate(100), "100");
  EXPECT_THROW(coordinate(std::numeric_limits<double>::quiet_NaN()), base::ArgumentError);
}

TEST(ReportNumbers, Fixed) {
  EXPECT_EQ(fixed(0.41249, 3), "0.412");
  EXPECT_EQ(fixed(-1.5, 1), "−1.5");
  EXPECT_EQ(fixed(-0.0001, 3), "0.000");
  EXPECT_EQ(fixed(1234567.0, 0), "1,234,567");
  EXPECT_EQ(fixed(999.5, 0), "1,000");
  EXPECT_EQ(fixed(std::numeric_limits<double>::infinity(), 2), "not finite");
}

TEST(ReportNumbers, Significant) {
  EXPECT_EQ(significant(0), "0");
  EXPECT_EQ(significant(812.4), "812");
  EXPECT_EQ(significant(8.124), "8.12");
  EXPECT_EQ(significant(9.996), "10.0");
  EXPECT_EQ(significant(99.96), "100");
  EXPECT_EQ(significant(12345), "12,300");
  EXPECT_EQ(significant(0.03124), "0.0312");
  EXPECT_EQ(significant(0.0000312), "3.1e-5");
  EXPECT_EQ(significant(12345678), "1.2e7");
  EXPECT_EQ(significant(-0.5), "−0.500");
}

TEST(ReportNumbers, SharesAndDifferences) {
  EXPECT_EQ(percent(0.4125), "41.2%");
  EXPECT_EQ(signed_fixed(0.25, 2), "+0.25");
  EXPECT_EQ(signed_fixed(-0.25, 2), "−0.25");
  EXPECT_EQ(signed_fixed(0.0001, 2), "0.00");
}

Table small_table() {
  Table table("Losses <all>", "estimator", {{"equal steps", "loss"}, {"equal steps", "accuracy"}, {"", "steps/s"}});
  table.add({"none", "none", true, {{"1.3", "0.1", false}, {"30%", "", false}, {}}});
  table.add({"a|b_c*", "a", false, {{"0.4", "", false}, {"80%", "", false}, {}}});
  return table;
}

TEST(ReportTable, MarksTheBestAndDropsEmptyColumns) {
  Table table = small_table();
  table.mark_best(0, {1.3, 0.4}, Best::lowest);
  table.mark_best(1, {0.3, 0.8}, Best::highest);
  table.drop_empty_columns();
  EXPECT_EQ(table.markdown(),
            "| estimator | equal steps: loss | equal steps: accuracy |\n|---|---:|---:|\n"
            "| none | 1.3 ± 0.1 | 30% |\n| a\\|b_c\\* | **0.4** | **80%** |\n");
  const std::string html = table.html(Appearance()).str();
  EXPECT_THAT(html, HasSubstr("<th scope=\"colgroup\" colspan=\"2\" class=\"group\">equal steps</th>"));
  EXPECT_THAT(html, HasSubstr("Losses &lt;all&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("steps/s")));
}

TEST(ReportTable, EqualBestsAreAllMarkedAndNothingWithoutValues) {
  Table table("", "", {{"", "x"}});
  for (int i = 0; i < 2; ++i) table.add({"row", "", false, {{"1", "", false}}});
  table.mark_best(0, {1.0, std::nullopt}, Best::lowest);  // better than nothing is no distinction
  EXPECT_THAT(table.markdown(), Not(HasSubstr("**")));
  table.mark_best(0, {1.0, 1.0}, Best::lowest);
  EXPECT_EQ(table.markdown(), "|  | x |\n|---|---:|\n| row | **1** |\n| row | **1** |\n");
}

TEST(ReportTable, RefusesRowsOfAnotherWidth) {
  Table table("", "", {{"", "x"}});
  EXPECT_THROW(table.add({"row", "", false, {}}), base::ArgumentError);
  EXPECT_THROW(table.mark_best(0, {1.0}, Best::lowest), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::report
