// The whole page of runs and its Markdown: figures are read back from it, of whole, empty, damaged and hostile runs. A
// real parser looks at every page (tests/support/check_report_page.py); how it looks in a browser is tested with the
// program (tests/launch/report_page_test.py).
#include "report/run/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/report/run/page_checks.h"
#include "tests/report/run/run_folder.h"

namespace rosa::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::holds;
using ::testing::Not;
using testing::row_of;
using testing::RunFolder;

// A real parser has looked at it.
std::string checked_page(const std::vector<TrainingRun>& runs) { return testing::checked(run_page(runs)); }

std::vector<TrainingRun> runs_of(const std::vector<const RunFolder*>& folders) {
  std::vector<TrainingRun> runs;
  for (const RunFolder* folder : folders) runs.push_back(read_training_run(folder->path()));
  name_runs(runs);
  for (std::size_t i = 0; i < runs.size(); ++i) runs[i].name = "run" + std::to_string(i);
  return runs;
}

// Losses 4, 1, not finite, 2; the third layer collapses.
void fill(const RunFolder& folder) {
  std::vector<RunFolder::Json> lines;
  const double losses[] = {4, 1, RunFolder::nan(), 2};
  for (int i = 0; i < 4; ++i) {
    RunFolder::Json line = RunFolder::step(10 * i, losses[i]);
    line["step_ms"] = 20 + i;
    line["num_skipped"] = i / 2;
    line["layers"] = {RunFolder::layer(0, 0.5), RunFolder::layer(1, 0.25), RunFolder::layer(2, i < 2 ? 0.5 : 0.0)};
    line["sources"] = {{{"name", "books"}, {"num_sequences", 3}, {"epochs", 0.5 * i}, {"loss", losses[i]}},
                       {{"name", "code"}, {"num_sequences", 1}, {"epochs", 0.1}, {"loss", 8.0}}};
    lines.push_back(line);
  }
  lines.push_back(RunFolder::evaluation(10, 3));
  lines.push_back(RunFolder::evaluation(31, 2));
  folder.write_metrics(lines);
}

TEST(RunPage, FiguresCanBeReadBack) {
  RunFolder folder;
  fill(folder);
  const std::string page = checked_page(runs_of({&folder}));
  // last; best, at step; mean; lowest; highest; not finite
  EXPECT_THAT(row_of(page, "Over the logged steps", "Loss"),
              ElementsAre("2.000", "1.000 at 10", "2.333", "1.000", "4.000", "1"));
  EXPECT_THAT(row_of(page, "Over the evaluations", "Cross-entropy, held out"),
              ElementsAre("2.000", "2.000 at 31", "2.500", "2.000", "3.000"));
  EXPECT_THAT(row_of(page, "Mean time of a step", "run0"),
              ElementsAre("21.5", "4.00 (18.6%)", "6.00 (27.9%)", "11.5 (53.5%)"));
  EXPECT_THAT(row_of(page, "The layers at step 30", "layer 2"),
              ElementsAre("0.0%", "2.500", "7.000", "6.000", "75.0%", "25.0%", "50.0%", "0.0%", "12.5%", "collapsed"));
  EXPECT_THAT(row_of(page, "The sources", "books"), ElementsAre("2.000", "2.333", "1.000", "3.000", "1.500"));
  EXPECT_THAT(row_of(page, "What happened", "20"), ElementsAre("skipped", "1 skipped since the line before"));
  EXPECT_TRUE(holds(page, "<li>run0: 31 steps, 4 of them logged.</li>"));
  EXPECT_TRUE(holds(page, "<li>run0: the loss of 1 logged steps is not finite.</li>"));
  EXPECT_TRUE(holds(page, "<li>run0: collapsed layers at the last logged step: 2.</li>"));
  // What a pointer finds: over the loss, over a layer, over a mark.
  EXPECT_TRUE(holds(page, "<title>step 10: 1.000</title>"));
  EXPECT_TRUE(holds(page, "<title>step 20: not finite</title>"));
  EXPECT_TRUE(holds(page, "layer 1: 25.0%\nlayer 2: 0.0% (collapsed)</title>"));
  EXPECT_TRUE(holds(page, "<title>step 20: 1 skipped since the line before</title>"));
}

TEST(RunPage, ShowsTheLastSamplesAndHowTheFirstOfThemWentOn) {
  RunFolder folder;
  const auto samples = [](int step, const std::string& continuation) {
    RunFolder::Json line = {{"kind", "samples"}, {"step", step}};
    line["samples"] = {{{"prompt", "Once upon"}, {"continuation", continuation}, {"reference", " a time"}},
                       {{"prompt", "<b>"}, {"continuation", std::string(9000, 'x')}, {"reference", "two\nlines"}}};
    return line;
  };
  folder.write_metrics({RunFolder::step(0, 2), samples(10, " on"), samples(20, " old"), samples(20, " a time")});
  const std::string page = checked_page(runs_of({&folder}));
  EXPECT_THAT(row_of(page, "After 20 steps", "1"), ElementsAre("Once upon", " a time", " a time"));
  const std::vector<std::string> second = row_of(page, "After 20 steps", "2");
  EXPECT_EQ(second.at(0), "&lt;b&gt;");
  EXPECT_EQ(second.at(1), std::string(8000, 'x') + "\u2026");
  EXPECT_THAT(row_of(page, "The first sample over the run", "10"), ElementsAre("Once upon", " on"));
  EXPECT_THAT(row_of(page, "The first sample over the run", "20"), ElementsAre("Once upon", " a time"));
  EXPECT_THAT(run_markdown(runs_of({&folder})), HasSubstr("| 1 | Once upon | "));
  folder.write_metrics({samples(10, " on"), {{"kind", "samples"}, {"step", 20}, {"samples", {{{"prompt", 3}}}}}});
  EXPECT_THROW(read_training_run(folder.path()), base::DataError);
}

TEST(RunPage, ComparesRunsAndShowsOnlyWhatDiffers) {
  RunFolder first, second;
  fill(first);
  second.write_metrics({RunFolder::step(0, 8), RunFolder::step(50, 6)});
  std::vector<TrainingRun> runs = runs_of({&first, &second});
  runs[0].configuration = {{"run.seed", "1", "default"}, {"optimizer.rate", "0.5", "a.yaml:3"}};
  runs[1].configuration = {{"run.seed", "1", "default"}, {"optimizer.rate", "0.25", "a.yaml:3"}, {"new", "2", ""}};
  const std::string page = checked_page(runs);
  EXPECT_THAT(row_of(page, "Over the logged steps", "Loss, run1"),
              ElementsAre("6.000", "6.000 at 50", "7.000", "6.000", "8.000", "–"));
  EXPECT_THAT(row_of(page, "Settings in which the runs differ", "optimizer.rate"), ElementsAre("0.5", "0.25"));
  EXPECT_THAT(row_of(page, "Settings in which the runs differ", "new"), ElementsAre("–", "2"));
  EXPECT_TRUE(row_of(page, "Settings in which the runs differ", "run.seed").empty());
  EXPECT_THAT(row_of(page, "Every setting", "run.seed"), ElementsAre("1", "1"));
  EXPECT_TRUE(holds(page, "<h3>Layers: run0</h3>"));
  EXPECT_FALSE(holds(page, "<h3>Layers: run1</h3>"));
  runs[1].configuration = runs[0].configuration;
  EXPECT_TRUE(holds(checked_page(runs), "The runs do not differ in any setting."));
}

TEST(RunPage, ARunThatHasJustBegun) {
  RunFolder folder;
  folder.write("run.json", R"({"last_saved_step":-1,"run_id":"x"})");
  EXPECT_TRUE(holds(checked_page(runs_of({&folder})), "<li>run0 has no step in metrics.jsonl yet.</li>"));
  folder.write_metrics({RunFolder::step(0, 2)}, "{\"kind\":\"st");
  const std::string page = checked_page(runs_of({&folder}));
  EXPECT_EQ(row_of(page, "Over the logged steps", "Loss").at(0), "2.000");
  EXPECT_FALSE(holds(page, "http-equiv=\"refresh\""));
  EXPECT_TRUE(holds(run_page(runs_of({&folder}), {}, 15), "http-equiv=\"refresh\" content=\"15\""));
}

TEST(RunPage, NothingIsFinite) {
  RunFolder folder;
  RunFolder::Json line = RunFolder::step(0, RunFolder::nan());
  line["layers"] = {{{"layer", 0}, {"matched_share", RunFolder::nan()}}};
  line["step_ms"] = RunFolder::nan();
  folder.write_metrics({line, RunFolder::evaluation(1, RunFolder::nan())});
  const std::string page = checked_page(runs_of({&folder}));
  EXPECT_THAT(row_of(page, "Over the logged steps", "Loss"), ElementsAre("1"));
  EXPECT_TRUE(holds(page, "is not finite"));
}

TEST(RunPage, TextsOfFilesAreTextsOnThePage) {
  const std::string hostile = "</title><script>alert(1)</script>&\"'\x1b[31m\xe2\x80\xae|";
  RunFolder folder;
  fill(folder);
  RunFolder::Json line = RunFolder::step(40, 1);
  line[hostile] = 5;
  line["sources"] = {{{"name", hostile}, {"num_sequences", 1}, {"loss", 2.0}}};
  folder.write_metrics({line});
  folder.write("logs/rank_0000.log", "08:00:00.000 error " + hostile + "\n");
  std::vector<TrainingRun> runs = runs_of({&folder});
  runs[0].name = hostile;
  runs[0].configuration = {{hostile, hostile, hostile}};
  const std::string page = checked_page(runs);
  EXPECT_FALSE(holds(page, "<script"));
  EXPECT_FALSE(holds(page, "\x1b"));
  EXPECT_FALSE(holds(page, "\xe2\x80\xae"));
  const std::string markdown = run_markdown(runs);
  EXPECT_FALSE(holds(markdown, "<script"));
  EXPECT_FALSE(holds(markdown, "\x1b"));
}

// The size of a picture does not grow with the steps.
TEST(RunPage, ALongRunMakesNoLongPage) {
  const auto page_bytes = [](int num_steps) {
    RunFolder folder;
    std::vector<RunFolder::Json> lines;
    for (int i = 0; i < num_steps; ++i) {
      lines.push_back(RunFolder::step(i, 1 + i % 7));
      lines.back()["layers"] = {RunFolder::layer(0, 0.1 * (i % 10))};
    }
    folder.write_metrics(lines);
    return checked_page(runs_of({&folder})).size();
  };
  EXPECT_LT(page_bytes(20'000), page_bytes(1'000) * 1.5);
}

TEST(RunMarkdown, HoldsTheTables) {
  RunFolder folder;
  fill(folder);
  const std::string markdown = run_markdown(runs_of({&folder}));
  EXPECT_THAT(markdown, HasSubstr("# run0\n"));
  EXPECT_THAT(markdown, HasSubstr("| Loss | 2.000 | 1.000 at 10 | 2.333 | 1.000 | 4.000 | 1 |"));
  EXPECT_THAT(markdown, HasSubstr("\n## Layers\n"));
  EXPECT_THAT(markdown, Not(HasSubstr("<svg")));
}

}  // namespace
}  // namespace rosa::report
