#include "training/metric_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <sstream>

#include "base/error.h"
#include "tests/support/temporary_folder.h"
#include "training/metric_fields.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

template <class Metrics>
std::string names_of(std::span<const MetricField<Metrics>> fields) {
  std::string names;
  for (const auto& field : fields) names += base::concat(",", field.name);
  return names;
}

class MetricTableOfARun : public ::testing::Test {
 protected:
  void write_run() {
    MetricsFile file(path_, /*every=*/1);
    file.on_start(0, 3);
    for (int64_t step = 0; step < 3; ++step) {
      StepMetrics metrics{.step = step, .num_steps = 3, .loss = 0.1 + static_cast<double>(step)};
      metrics.memory_bytes = (int64_t{1} << 60) + step;
      metrics.gradient_norm = step == 1 ? std::numeric_limits<double>::infinity() : 1e-7;
      metrics.layers.resize(2);
      metrics.layers[0].matched_share = 0.25;
      metrics.layers[1].layer = 3;
      metrics.layers[1].max_match_length = 5 + step;
      metrics.sources = {{.name = "web, \"clean\"", .loss = 0.5, .num_sequences = 4}, {.name = "code"}};
      file.on_step(metrics);
    }
    file.on_evaluation({.step = 3, .ce = 1.0 / 3.0, .num_tokens = 7});
  }
  void append(const std::string& text) const { std::ofstream(path_, std::ios::app) << text; }
  std::vector<std::string> csv(MetricKind kind) const { return lines_of(to_csv(read_metric_table(path_, kind))); }

  testing::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "metrics.jsonl";
};

TEST_F(MetricTableOfARun, HasTheFieldsOfEachKind) {
  write_run();
  EXPECT_EQ(csv(MetricKind::step)[0], base::concat("step", names_of(step_fields())));
  EXPECT_EQ(csv(MetricKind::evaluation)[0], base::concat("step", names_of(evaluation_fields())));
  EXPECT_EQ(csv(MetricKind::layer)[0], base::concat("step,layer", names_of(layer_fields())));
  EXPECT_EQ(csv(MetricKind::source)[0], base::concat("step,name", names_of(source_fields())));
  EXPECT_EQ(csv(MetricKind::step).size(), 4u);
  EXPECT_EQ(csv(MetricKind::layer).size(), 7u);
}

TEST_F(MetricTableOfARun, KeepsAllDigitsAndLeavesOutWhatIsNotThere) {
  write_run();
  const MetricTable steps = read_metric_table(path_, MetricKind::step);
  EXPECT_EQ(std::get<double>(steps.rows[2][1]), 0.1 + 2.0);
  const std::vector<std::string> lines = csv(MetricKind::step);
  EXPECT_THAT(lines[1], HasSubstr("0,0.1,0,0,,,,1e-07,"));
  EXPECT_THAT(lines[2], HasSubstr("1,1.1,0,0,,,,,"));
  EXPECT_THAT(lines[3], HasSubstr(",1152921504606846978,"));
  EXPECT_EQ(csv(MetricKind::evaluation)[1], "3,0.3333333333333333,0,7,0");
  const std::vector<std::string> sources = csv(MetricKind::source);
  EXPECT_EQ(sources[1], "0,\"web, \"\"clean\"\"\",4,0,0.5,0,0");
  EXPECT_EQ(sources[2], "0,code,0,0,,,");
}

TEST_F(MetricTableOfARun, LeavesOutALastLineThatIsBeingWritten) {
  write_run();
  append("{\"kind\":\"step\",\"step\":3,\"lo");
  EXPECT_EQ(csv(MetricKind::step).size(), 4u);
}

TEST_F(MetricTableOfARun, HasEachStepOnceWhereItStandsTwice) {
  write_run();
  append("{\"kind\":\"step\",\"step\":1,\"loss\":9}\n");
  const MetricTable table = read_metric_table(path_, MetricKind::step);
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_EQ(std::get<double>(table.rows[1][1]), 9.0);
  EXPECT_EQ(read_metric_table(path_, MetricKind::layer).rows.size(), 2u);
}

TEST_F(MetricTableOfARun, NamesFileAndLineOfDamage) {
  for (const char* damage :
       {"not JSON\n", "{\"kind\":\"step\"}\n", "{\"step\":3}\n", "[1]\n",
        "{\"kind\":\"step\",\"step\":3,\"loss\":\"low\"}\n", "{\"kind\":\"step\",\"step\":3,\"memory_bytes\":1.5}\n"}) {
    std::filesystem::remove(path_);
    write_run();
    append(damage);
    append("{\"kind\":\"step\",\"step\":4}\n");
    try {
      read_metric_table(path_, MetricKind::step);
      ADD_FAILURE() << damage;
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(path_.string() + ":5")) << damage;
    }
  }
}

TEST_F(MetricTableOfARun, IsItsHeaderAloneBeforeTheFirstLine) {
  append("");
  EXPECT_THAT(csv(MetricKind::evaluation), ElementsAre(base::concat("step", names_of(evaluation_fields()))));
}

}  // namespace
}  // namespace rosa::training
