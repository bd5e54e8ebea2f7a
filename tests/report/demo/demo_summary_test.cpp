// The picture and the table of a demo's summary: figures that can be read back, gaps that are none, damage.
#include "report/demo/demo_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "tests/support/temporary_folder.h"

namespace rosa::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The gap is 2; ROSA closes 1.5 of it.
constexpr const char* kPart = R"({"teacher": {"ce": 1.0}, "window": {"ce": 3.0}, "rosa": {"ce": 1.5},
    "rosa_zeroed": {"ce": 3.5}, "rosa_shuffled": {"ce": null}, "gap_closed": 0.75, "num_sequences": 64})";

class DemoSummary : public ::testing::Test {
 protected:
  std::vector<DemoPart> read(const std::string& text) {
    std::ofstream(folder_ / "summary.json") << text;
    return read_demo(folder_.path());
  }

  testing::TemporaryFolder folder_;
};

TEST_F(DemoSummary, SharesOfTheGap) {
  EXPECT_FALSE(is_demo_folder(folder_.path()));
  const std::vector<DemoPart> parts = read(std::string("{\"natural\": ") + kPart + "}");
  EXPECT_TRUE(is_demo_folder(folder_.path()));
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_DOUBLE_EQ(parts[0].variants.at(0).closed.value(), 0.75);
  EXPECT_DOUBLE_EQ(parts[0].variants.at(1).closed.value(), -0.25);
  EXPECT_FALSE(parts[0].variants.at(2).closed);
  EXPECT_THAT(demo_table(parts).markdown(), HasSubstr("| natural: source code | 1.000 | 3.000 | 0.75 | −0.25 | – |"));
  const std::string picture = demo_picture(parts);
  EXPECT_EQ(picture.find("<svg"), 0u);
  EXPECT_THAT(picture, HasSubstr("window + ROSA 0.75"));
  EXPECT_THAT(picture, HasSubstr("width=\"315\""));  // 0.75 of 420
  EXPECT_THAT(picture, HasSubstr(">n/a</text>"));
}

TEST_F(DemoSummary, WhereThereIsNoGapNothingIsClosed) {
  const std::vector<DemoPart> parts = read(R"({"teacher": {"ce": 3.0}, "window": {"ce": 3.0}, "rosa": {"ce": 1.5},
      "recallable": {"teacher": {"ce": 1.0}, "window": {"ce": 2.0}, "gap_closed": 0.5}})");
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].name, "lines");
  for (const DemoVariant& variant : parts[0].variants) EXPECT_FALSE(variant.closed) << variant.name;
}

TEST_F(DemoSummary, DamageAndHostileNames) {
  EXPECT_THROW(read("{"), base::DataError);
  EXPECT_THROW(read("{}"), base::DataError);
  EXPECT_THROW(read(R"({"teacher": {"ce": "one"}, "window": {}})"), base::DataError);
  const std::string picture = demo_picture(read(std::string(R"({"</svg><script>": )") + kPart + "}"));
  EXPECT_THAT(picture, Not(HasSubstr("<script")));
}

}  // namespace
}  // namespace rosa::report
