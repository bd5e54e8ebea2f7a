// What long-context suites found, on the page: figures are read back from files and lines as training writes them, of
// one result and of several, damaged and hostile ones too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "report/run/page.h"
#include "report/run/suite_tables.h"
#include "tests/report/run/page_checks.h"
#include "tests/report/run/run_folder.h"

namespace rosa::report {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::holds;
using testing::row_of;
using testing::RunFolder;

Json figure(double value) { return {{"value", value}, {"low", nullptr}, {"high", nullptr}}; }
Json figure(double value, double low, double high) { return {{"value", value}, {"low", low}, {"high", high}}; }

Json row(const std::string& task, int64_t length, const Json& depth, const std::string& group,
         const std::string& variant, const Json& figures) {
  const int num_answers = figures.contains("exact") ? 16 : 0;
  return {{"task", task},       {"length", length},           {"depth", depth},
          {"group", group},     {"variant", variant},         {"num_tokens", 640},
          {"num_sequences", 8}, {"num_answers", num_answers}, {"figures", figures}};
}

// Needles at two lengths and depths, a length task, and language: the variant gets `share` of the needles.
std::vector<Json> rows_of(const std::string& variant, double share) {
  std::vector<Json> rows;
  for (const int length : {512, 65536}) {
    for (const int depth : {0, 100}) {
      rows.push_back(row("needle", length, depth, "all", variant,
                         {{"exact", figure(depth == 0 ? share : 1.0, 0.25, 1.0)}, {"ce", figure(length / 512.0)}}));
    }
    rows.push_back(row("length", length, nullptr, "all", variant,
                       {{"perplexity", figure(8 + share, 8, 9)}, {"us_per_token", figure(2.5)}}));
    rows.push_back(row("length", length, nullptr, "position 1 to 63", variant, {{"ce", figure(3)}}));
    rows.push_back(row("length", length, nullptr, "position 64 to 511", variant, {{"ce", figure(2)}}));
  }
  rows.push_back(row("language", 512, nullptr, "all", variant, {{"ce", figure(3.5)}, {"top1", figure(0.5)}}));
  rows.push_back(row("language", 512, nullptr, "not copied", variant, {{"ce", figure(4)}}));
  rows.push_back(row("language", 512, nullptr, "no match", variant, {{"ce", figure(5)}}));
  rows.push_back(row("language", 512, nullptr, "match of 16 or more", variant, {{"ce", figure(0.25)}}));
  rows.push_back(row("language", 512, nullptr, "match at distance 64 to 127", variant, {{"ce", figure(1.5)}}));
  rows.push_back(row("language", 512, nullptr, "source books", variant, {{"ce", figure(3.25, 3, 3.5)}}));
  return rows;
}

Json file_of(const std::vector<Json>& rows) {
  return {{"run", "runs/a"}, {"num_steps_done", 200}, {"suite", "quick"}, {"variants", {"rosa"}}, {"rows", rows}};
}

SuiteResult read(const RunFolder& folder, const std::string& name, const Json& json) {
  folder.write(name, json.dump());
  return read_suite_file(folder.path() / name);
}

TEST(SuitePage, FiguresOfAFileCanBeReadBack) {
  const RunFolder folder;
  std::vector<Json> rows = rows_of("teacher", 1.0);
  for (const Json& one : rows_of("rosa", 0.75)) rows.push_back(one);
  std::vector<SuiteResult> results = {read(folder, "suite.json", file_of(rows))};
  name_suites(results);
  const std::string page = testing::checked(run_page({}, results));
  EXPECT_TRUE(holds(page, "<h1>suite</h1>"));
  EXPECT_THAT(row_of(page, "What was scored", "suite"), ElementsAre("quick", "runs/a", "200", "teacher, rosa"));
  EXPECT_THAT(row_of(page, "Answers right in every token", "65,536, 0%"),
              ElementsAre("16", "8", "100.0% [25.0%, 100.0%]", "75.0% [25.0%, 100.0%]"));
  EXPECT_THAT(row_of(page, "Cross-entropy, nats a token", "65,536, 100%"), ElementsAre("16", "8", "128.0", "128.0"));
  EXPECT_THAT(row_of(page, "Perplexity", "512"),
              ElementsAre("640", "8", "9.000 [8.000, 9.000]", "8.750 [8.000, 9.000]"));
  EXPECT_THAT(row_of(page, "Time a token, us", "512"), ElementsAre("640", "8", "2.500", "2.500"));
  EXPECT_THAT(row_of(page, "By position at length 65,536", "position 64 to 511"),
              ElementsAre("640", "8", "2.000", "2.000"));
  EXPECT_THAT(row_of(page, "All tokens", "First choice is right"), ElementsAre("50.0%", "50.0%"));
  EXPECT_THAT(row_of(page, "By what is known of the token", "not copied"), ElementsAre("640", "8", "4.000", "4.000"));
  EXPECT_THAT(row_of(page, "By length of the longest earlier match of tokens", "match of 16 or more"),
              ElementsAre("640", "8", "0.2500", "0.2500"));
  EXPECT_THAT(row_of(page, "By length of the longest earlier match of tokens", "no match").at(2), "5.000");
  EXPECT_THAT(row_of(page, "By distance to that match", "match at distance 64 to 127").at(2), "1.500");
  EXPECT_THAT(row_of(page, "By source", "source books").at(2), "3.250 [3.000, 3.500]");
  // What a pointer finds: over a length of the heat map of rosa, and over one of the curves.
  EXPECT_TRUE(holds(page, "<title>length 65,536\ndepth 0%: 75.0% [25.0%, 100.0%], 16 answers\ndepth 100%: 100.0%"));
  EXPECT_TRUE(holds(page, "<title>length 512\nteacher: 9.000 [8.000, 9.000]\nrosa: 8.750 [8.000, 9.000]</title>"));
}

TEST(SuitePage, ComparesTheLastEvaluationsOfRunsAndFiles) {
  RunFolder first, second;
  const auto line = [](int64_t step, double share) {
    RunFolder::Json evaluation = RunFolder::evaluation(step, 3);
    evaluation["suite"] = {{"needle/exact", share}};
    evaluation["suite_rows"] = rows_of("rosa", share);
    return evaluation;
  };
  first.write_metrics({RunFolder::step(0, 2), line(10, 0.25), line(20, 0.5), RunFolder::evaluation(30, 2)});
  second.write_metrics({RunFolder::step(0, 2), line(10, 1)});
  std::vector<TrainingRun> runs = {read_training_run(first.path()), read_training_run(second.path())};
  runs[0].name = "run0", runs[1].name = "run1";
  const std::string page = testing::checked(run_page(runs));
  EXPECT_THAT(row_of(page, "What was scored", "run0"), ElementsAre("20", "rosa"));
  EXPECT_THAT(row_of(page, "Answers right in every token", "512, 0%"),
              ElementsAre("16", "8", "50.0% [25.0%, 100.0%]", "100.0% [25.0%, 100.0%]"));
  std::vector<SuiteResult> files = {read(first, "a/s.json", file_of(rows_of("rosa", 0.5))),
                                    read(first, "b/s.json", file_of(rows_of("window", 0.5)))};
  name_suites(files);
  EXPECT_EQ(files[1].name, (first.path() / "b/s.json").string());
  const std::string markdown = run_markdown({runs[1]}, files);
  EXPECT_THAT(markdown, HasSubstr("\n## Suite: needle\n"));
  EXPECT_THAT(markdown, HasSubstr(" run1, last evaluation, rosa | "));
  EXPECT_THAT(markdown, HasSubstr("s.json, window |"));
  // A run that went back to before its suite has none any more.
  first.write_metrics({RunFolder::step(0, 2), line(20, 0.5), RunFolder::evaluation(10, 2)});
  EXPECT_FALSE(read_training_run(first.path()).suite.has_value());
}

TEST(SuitePage, DocumentsAreCountedWhereSequencesHoldSeveral) {
  const RunFolder folder;
  std::vector<Json> rows = rows_of("rosa", 1.0);
  rows.back()["num_documents"] = 30;
  const std::vector<SuiteResult> results = {read(folder, "suite.json", file_of(rows))};
  const std::string page = run_page({}, results);
  EXPECT_EQ(row_of(page, "By source", "source books").at(1), "30");
  EXPECT_TRUE(holds(page, ">documents</th>"));
}

TEST(SuiteFile, DamageIsNamed) {
  const RunFolder folder;
  const auto expect_error = [&folder](const Json& json, const std::string& message) {
    try {
      read(folder, "suite.json", json);
      ADD_FAILURE() << "no error for " << message;
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("suite.json"));
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  expect_error({{"teacher", 1}}, "holds no results of a suite");
  Json damaged = file_of(rows_of("rosa", 1));
  damaged["rows"][0]["length"] = "long";
  expect_error(damaged, "'length'");
  damaged["rows"][0]["length"] = 0;
  expect_error(damaged, "'length'");
  damaged = file_of(rows_of("rosa", 1));
  damaged["rows"][2]["figures"]["perplexity"]["value"] = "9";
  expect_error(damaged, "'value'");
  damaged = file_of({});
  for (int i = 0; i < 21; ++i)
    damaged["rows"].push_back(row("t", 1, nullptr, "all", std::to_string(i), Json::object()));
  expect_error(damaged, "has 21 variants; a page holds 20");
}

TEST(SuitePage, OddRowsMakeAWholePage) {
  const RunFolder folder;
  const std::string hostile = "</title><script>alert(1)</script>\x1b[31m";
  // One length only, figures that are null, ranges that run backwards, huge numbers.
  const std::vector<Json> rows = {
      row(hostile, 1, nullptr, hostile, hostile, {{"ce", figure(1)}}),
      row("length", 7, nullptr, "all", "rosa", {{"perplexity", figure(1e29)}}),
      row("length", 9, nullptr, "all", "rosa", {{"perplexity", {{"value", nullptr}}}}),
      row("length", 9, nullptr, "position 9 to 3", "rosa", {{"ce", figure(-5)}}),
      row("length", 9, nullptr, "position 64 to 99999999999999999999", "rosa", {{"ce", figure(5)}}),
      row("length", 9, nullptr, "position 2 to 1", "rosa", {{"ce", figure(0)}}),
      row("needle", 5, 50, "all", "rosa", {{"unknown", figure(1)}})};
  std::vector<SuiteResult> results = {read(folder, "odd.json", file_of(rows))};
  name_suites(results);
  const std::string page = testing::checked(run_page({}, results));
  EXPECT_FALSE(holds(page, "<script"));
  EXPECT_FALSE(holds(page, "\x1b"));
  EXPECT_EQ(row_of(page, "Perplexity", "7").at(2), "1.0e29");
}

TEST(SuiteTables, RangesInTheNamesOfGroups) {
  const auto range = [](const char* group) { return range_of_group(group).value_or(Interval{-1, -1}); };
  EXPECT_EQ(range("position 64 to 127").low, 64);
  EXPECT_EQ(range("position 64 to 127").high, 127);
  EXPECT_EQ(range("match of 16 or more").low, 16);
  EXPECT_EQ(range("match of 1").high, 1);
  for (const char* none : {"", "no match", "all", "to 5 to", "x 9 to 3", "position 0 to 3"}) {
    EXPECT_EQ(range(none).low, -1) << none;
  }
}

}  // namespace
}  // namespace rosa::report
