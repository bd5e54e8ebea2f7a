// What is read from a run's folder, whatever state it is in.
#include "report/run/training_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tests/report/run/run_folder.h"

namespace rosa::report {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RunFolder;

std::string complaint(const RunFolder& folder) {
  try {
    read_training_run(folder.path());
  } catch (const base::DataError& error) {
    return error.what();
  }
  return "";
}

std::vector<std::pair<EventKind, double>> places(const TrainingRun& run) {
  std::vector<std::pair<EventKind, double>> found;
  for (const Event& event : run.events) found.emplace_back(event.kind, event.step.value_or(-1));
  return found;
}

TEST(TrainingRun, ATextInThePlaceOfANumberIsDamage) {
  RunFolder folder;
  RunFolder::Json line = RunFolder::step(0, 4);
  line["loss"] = "hi";
  folder.write_metrics({line});
  EXPECT_THROW(read_training_run(folder.path()), base::DataError);
}

TEST(TrainingRun, ReadsTheSuiteOfAnEvaluation) {
  RunFolder folder;
  RunFolder::Json with_suite = RunFolder::evaluation(20, 2);
  with_suite["suite"] = {{"needle/exact", 0.75}, {"copy/ce", nullptr}};
  folder.write_metrics({RunFolder::evaluation(10, 3), with_suite});
  const TrainingRun run = read_training_run(folder.path());
  EXPECT_THAT(run.evaluation_figure("needle/exact"), ElementsAre(std::pair<double, double>(20, 0.75)));
  ASSERT_EQ(run.evaluation_figure("copy/ce").size(), 1u);
  EXPECT_TRUE(std::isnan(run.evaluation_figure("copy/ce")[0].second));
}

TEST(TrainingRun, ReadsStepsEvaluationsLayersAndSources) {
  RunFolder folder;
  RunFolder::Json first = RunFolder::step(0, 4), second = RunFolder::step(10, RunFolder::nan());
  first["layers"] = {RunFolder::layer(3, 0.5), RunFolder::layer(7, 0.0)};
  second["layers"] = {RunFolder::layer(3, 0.6)};
  first["sources"] = {{{"name", "books"}, {"num_sequences", 2}, {"epochs", 0.5}, {"loss", 3.0}},
                      {{"name", "code"}, {"num_sequences", 0}, {"epochs", 0.0}}};
  second["a_new_figure"] = 11;
  folder.write_metrics({first, second, RunFolder::evaluation(11, 2)});
  for (const char* name : {"step_00000010", "step_00000020", "set_aside/step_00000010.1"}) {
    std::filesystem::create_directories(folder.path() / "checkpoints" / name);
  }
  const TrainingRun run = read_training_run(folder.path());
  EXPECT_EQ(run.run_id, "0123456789abcdef");
  EXPECT_EQ(run.last_saved_step, 20);
  EXPECT_EQ(run.num_checkpoints, 2);
  EXPECT_THAT(run.set_aside, ElementsAre("step_00000010.1"));
  EXPECT_EQ(run.num_step_lines, 2);
  EXPECT_EQ(run.num_steps_done(), 20);
  const Samples& loss = run.step_figure("loss");
  ASSERT_EQ(loss.size(), 2u);
  EXPECT_EQ(loss[0], (std::pair<double, double>(0, 4)));
  EXPECT_TRUE(std::isnan(loss[1].second));
  EXPECT_THAT(run.step_figure("a_new_figure"), ElementsAre(std::pair<double, double>(10, 11)));
  EXPECT_THAT(run.evaluation_figure("ce"), ElementsAre(std::pair<double, double>(11, 2)));
  EXPECT_TRUE(run.step_figure("nothing").empty());
  ASSERT_EQ(run.layers.size(), 2u);
  EXPECT_EQ(run.layers[0].layer, 3);
  EXPECT_THAT(run.layers[0].steps, ElementsAre(0, 10));
  EXPECT_THAT(run.layers[0].has_collapsed, ElementsAre(false, false));
  EXPECT_THAT(run.layers[1].has_collapsed, ElementsAre(true));
  ASSERT_EQ(run.sources.size(), 2u);
  EXPECT_EQ(run.sources[0].name, "books");
  EXPECT_FALSE(run.sources[1].figures.contains("loss"));
}

TEST(TrainingRun, BordersOfStagesAreEventsAndOtherTextsNoDamage) {
  RunFolder folder;
  std::vector<RunFolder::Json> lines;
  const auto add = [&lines](int64_t step, const char* stage) {
    lines.push_back(RunFolder::step(step, 4));
    lines.back()["stage"] = stage;
    lines.back()["divergence"] = "reverse_kl";
  };
  add(0, "align");
  add(10, "align");
  add(20, "distil");
  add(30, "distil");
  add(15, "align");  // the run went back
  add(20, "distil");
  add(30, "finish");
  folder.write_metrics(lines);
  const TrainingRun run = read_training_run(folder.path());
  EXPECT_THAT(places(run), ElementsAre(std::pair(EventKind::stage, 20.0), std::pair(EventKind::stage, 30.0)));
  EXPECT_EQ(run.events[1].text, "stage finish begins");
}

TEST(TrainingRun, AStepThatComesAgainTakesThePlaceOfAllBehindIt) {
  RunFolder folder;
  std::vector<RunFolder::Json> lines;
  for (const int step : {0, 10, 20, 10}) {
    lines.push_back(RunFolder::step(step, 100 + static_cast<double>(lines.size())));
    lines.back()["layers"] = {RunFolder::layer(0, 0.5)};
  }
  folder.write_metrics(lines);
  const TrainingRun run = read_training_run(folder.path());
  EXPECT_THAT(run.step_figure("loss"),
              ElementsAre(std::pair<double, double>(0, 100), std::pair<double, double>(10, 103)));
  EXPECT_THAT(run.layers.at(0).steps, ElementsAre(0, 10));
}

TEST(TrainingRun, IsThereFromItsFirstMoment) {
  RunFolder folder;
  folder.write("run.json", R"({"last_saved_step":-1,"run_id":"x"})");
  EXPECT_EQ(read_training_run(folder.path()).num_steps_done(), 0);
  folder.write("metrics.jsonl", "");
  EXPECT_TRUE(read_training_run(folder.path()).steps.empty());
  folder.write_metrics({RunFolder::step(0, 1)}, R"({"kind":"step","st)");
  EXPECT_EQ(read_training_run(folder.path()).num_step_lines, 1);
}

TEST(TrainingRun, DamageNamesFileAndLine) {
  RunFolder folder;
  const std::string metrics = (folder.path() / "metrics.jsonl").string();
  folder.write("metrics.jsonl", RunFolder::step(0, 1).dump() + "\n{\"kind\": \"step\n");
  EXPECT_THAT(complaint(folder), HasSubstr(metrics + ":2:"));
  folder.write("metrics.jsonl", "{\"kind\":\"step\",\"step\":\"one\"}\n");
  EXPECT_THAT(complaint(folder), AllOf(HasSubstr(metrics + ":1"), HasSubstr("step")));
  folder.write("metrics.jsonl", "{\"kind\":\"step\",\"step\":-1}\n");
  EXPECT_THAT(complaint(folder), HasSubstr(metrics + ":1"));
  folder.write("metrics.jsonl", "{\"kind\":\"step\",\"step\":1,\"layers\":[{\"matched_share\":0}]}\n");
  EXPECT_THAT(complaint(folder), AllOf(HasSubstr(metrics + ":1"), HasSubstr("layer")));
  folder.write("metrics.jsonl", "");
  folder.write("run.json", "{");
  EXPECT_THAT(complaint(folder), HasSubstr("run.json"));
  testing::TemporaryFolder other;
  EXPECT_FALSE(is_run_folder(other.path()));
  EXPECT_THROW(read_training_run(other.path()), base::DataError);
}

TEST(TrainingRun, LogsTellWhatHappened) {
  RunFolder folder;
  RunFolder::Json skipped = RunFolder::step(30, 1);
  skipped["num_skipped"] = 2;
  folder.write_metrics({RunFolder::step(0, 4), skipped});
  folder.write("logs/rank_0000.log",
               "08:00:00.000 info [rank 0] no checkpoint in x: starting run y at step 0\n"
               "08:00:01.000 info [rank 0] step 12/40  loss 1.0\n"
               "08:00:02.000 error [rank 0] rosa: rank 0 on host: the disk is full\n"
               "something else\n\n"
               "09:00:00.000 info [rank 0] resumed from x/step_00000010 (run y) after 10 of 40 steps\n"
               "09:00:01.000 warning [rank 0] step 15: the loss spikes to 9\n"
               "09:00:02.000 info [rank 0] rolled back to x/checkpoints/step_00000010\n"
               "09:00:03.000 info [rank 0] step 20/40  loss 1.0\n"
               "09:00:04.000 info [rank 0] stage align (1 of 2) stopped early after 20 of 40 steps (train.early_stop): "
               "cross-entropy has not got better\n"
               "09:00:02.000 info [rank 0] a line that is being wri");
  folder.write("logs/failure_1.txt", "rosa: rank 0 on host: the disk is full");
  folder.write("logs/failure_2.txt", "rosa: rank 1 on host: was killed\n");
  const TrainingRun run = read_training_run(folder.path());
  using Place = std::pair<EventKind, double>;
  EXPECT_THAT(places(run),
              ElementsAre(Place(EventKind::resume, 10), Place(EventKind::roll_back, 10), Place(EventKind::failure, 12),
                          Place(EventKind::warning, 15), Place(EventKind::early_stop, 20),
                          Place(EventKind::skipped, 30), Place(EventKind::failure, -1)));
  EXPECT_THAT(run.events[4].text, HasSubstr("stopped early after 20 of 40 steps"));
  EXPECT_EQ(run.events[5].count, 2);
  EXPECT_THAT(run.events[2].text, HasSubstr("the disk is full"));
}

TEST(TrainingRun, NamesAreAsShortAsTheyMayBe) {
  RunFolder folder;
  for (const char* name : {"a/run", "b/run", "c"}) folder.write(std::string(name) + "/run.json", "{}");
  std::vector<TrainingRun> runs;
  for (const char* name : {"a/run", "b/run", "c/"}) runs.push_back(read_training_run(folder.path() / name));
  name_runs(runs);
  EXPECT_EQ(runs[2].name, "c");
  EXPECT_NE(runs[0].name, runs[1].name);
  runs.push_back(runs[0]);
  EXPECT_THROW(name_runs(runs), base::ConfigError);
}

}  // namespace
}  // namespace rosa::report
