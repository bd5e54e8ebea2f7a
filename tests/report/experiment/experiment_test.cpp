// Reading the folders of experiments: whole, unfinished, cut off and damaged ones.
#include "report/experiment/experiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "report/experiment/comparison.h"
#include "tests/report/experiment/experiment_folder.h"

namespace rosa::report {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::ExperimentFolder;
using ::testing::HasSubstr;

// What reading `folder` complains of; empty: nothing.
std::string complaint(const ExperimentFolder& folder) {
  try {
    read_experiment(folder.path());
    return "";
  } catch (const base::DataError& error) {
    return error.what();
  }
}

TEST(ReportExperiment, ReadsAWholeFolder) {
  ExperimentFolder folder;
  folder.add_usual_arms();
  const Experiment experiment = read_experiment(folder.path());
  EXPECT_EQ(experiment.task, "gate_only");
  EXPECT_EQ(experiment.setting("num_steps"), "100");
  EXPECT_EQ(experiment.setting("nonsense"), "");
  ASSERT_EQ(experiment.runs.size(), 6u);
  const report::Run& run = *experiment.runs_of(1).at(1);
  EXPECT_EQ(run.seed, 1);
  ASSERT_EQ(run.losses.size(), 10u);
  EXPECT_DOUBLE_EQ(run.losses.back().loss.value(), 0.6);
  EXPECT_DOUBLE_EQ(run.losses.back().seconds, 10);
  EXPECT_DOUBLE_EQ(run.linearisation.at(0).value, 0.9);
  EXPECT_DOUBLE_EQ(run.result.value().equal_steps.value().zeroed_loss.value(), 1.5);
  EXPECT_DOUBLE_EQ(run.result->step_ms_p90.value(), 14);
  EXPECT_EQ(control_index(experiment), 0u);
}

TEST(ReportExperiment, RunsThatAreNotThereOrNotFinished) {
  ExperimentFolder folder;
  folder.add_arm("flip/causal", "flip", "causal");
  folder.add_run("flip_causal-seed0", 0.4, false);
  const Experiment experiment = read_experiment(folder.path());
  EXPECT_FALSE(experiment.runs.at(0).result);
  EXPECT_DOUBLE_EQ(experiment.runs.at(0).last_step(), 100);
  EXPECT_DOUBLE_EQ(experiment.runs.at(1).last_step(), 0);
  EXPECT_EQ(num_finished(experiment, 0), 0);
}

TEST(ReportExperiment, ALineThatAKillCutOffIsSkipped) {
  ExperimentFolder folder;
  folder.add_arm("none", "none");
  const std::string whole = "{\"kind\": \"step\", \"step\": 1, \"loss\": 2, \"seconds\": 3}\n";
  folder.write("none-seed0/metrics.jsonl", whole + "{\"kind\": \"step\", \"ste");
  EXPECT_EQ(read_experiment(folder.path()).runs.at(0).losses.size(), 1u);
  // Everywhere else it is damage.
  folder.write("none-seed0/metrics.jsonl", whole + "{\"kind\": \"step\", \"ste\n");
  EXPECT_THAT(complaint(folder), HasSubstr("none-seed0/metrics.jsonl:2:"));
  folder.write("none-seed0/metrics.jsonl", "\n{\"kind\": \"st\n" + whole);
  EXPECT_THAT(complaint(folder), HasSubstr("none-seed0/metrics.jsonl:2:"));
}

TEST(ReportExperiment, RepeatedLinesCountAsTheyStandLast) {
  ExperimentFolder folder;
  folder.add_arm("none", "none");
  folder.write_lines("none-seed0/metrics.jsonl", {{{"kind", "step"}, {"step", 20}, {"loss", 5}, {"seconds", 2}},
                                                  {{"kind", "step"}, {"step", 10}, {"loss", 6}, {"seconds", 1}},
                                                  {{"kind", "something"}, {"else", 1}},
                                                  {{"kind", "step"}, {"step", 20}, {"loss", 4}, {"seconds", 2}}});
  folder.write_lines("studies.jsonl", {{{"kind", "timing"}, {"kernel", "flip"}, {"length", 64}, {"microseconds", 9}},
                                       {{"kind", "timing"}, {"kernel", "flip"}, {"length", 64}, {"microseconds", 8}}});
  const Experiment experiment = read_experiment(folder.path());
  ASSERT_EQ(experiment.runs.at(0).losses.size(), 2u);
  EXPECT_DOUBLE_EQ(experiment.runs[0].losses[0].loss.value(), 6);
  EXPECT_DOUBLE_EQ(experiment.runs[0].losses[1].loss.value(), 4);
  ASSERT_EQ(experiment.timing.size(), 1u);
  EXPECT_DOUBLE_EQ(experiment.timing[0].microseconds, 8);
}

TEST(ReportExperiment, NumbersThatAreNotFiniteAreMissing) {
  ExperimentFolder folder;
  folder.add_arm("none", "none");
  folder.write("none-seed0/metrics.jsonl",
               "{\"kind\": \"step\", \"step\": 1, \"loss\": null, \"seconds\": 1}\n"
               "{\"kind\": \"step\", \"step\": 2, \"loss\": 1e40, \"seconds\": 2}\n");
  const Experiment experiment = read_experiment(folder.path());
  ASSERT_EQ(experiment.runs.at(0).losses.size(), 2u);
  EXPECT_FALSE(experiment.runs[0].losses[0].loss);
  EXPECT_FALSE(experiment.runs[0].losses[1].loss);
}

TEST(ReportExperiment, SaysWhatIsDamagedAndWhere) {
  ExperimentFolder folder;
  folder.add_usual_arms();
  EXPECT_EQ(complaint(folder), "");
  folder.write("flip_causal-seed0/result.json", "{\n\"best_loss\": 1,\n\"final_loss\": }");
  EXPECT_THAT(complaint(folder), HasSubstr("flip_causal-seed0/result.json:3:15: no valid JSON"));
  folder.write("flip_causal-seed0/result.json", "{\"final_loss\": \"low\"}");
  EXPECT_THAT(complaint(folder),
              AllOf(HasSubstr("flip_causal-seed0/result.json: "), HasSubstr("'final_loss' is no number")));
  folder.write("flip_causal-seed0/result.json", "[1, 2]");
  EXPECT_THAT(complaint(folder), HasSubstr("expected an object"));
  folder.write("flip_causal-seed0/result.json", "{}");
  folder.write("flip_causal-seed0/metrics.jsonl", "{\"kind\": \"step\", \"loss\": 1, \"seconds\": 1}\n");
  EXPECT_THAT(complaint(folder), HasSubstr("flip_causal-seed0/metrics.jsonl:1: 'step' is missing"));
  folder.write("flip_causal-seed0/metrics.jsonl", "\xff\xfe\n");
  EXPECT_THAT(complaint(folder), HasSubstr("flip_causal-seed0/metrics.jsonl:1:1: "));
  folder.write("flip_causal-seed0/metrics.jsonl", "");
  folder.write("studies.jsonl", "{\"kind\": \"timing\", \"kernel\": 3}\n");
  EXPECT_THAT(complaint(folder), HasSubstr("studies.jsonl:1: 'kernel' is no text"));
}

TEST(ReportExperiment, WhatNoPageCanHoldIsRefused) {
  ExperimentFolder folder;
  const auto with = [&](const std::string& members) {
    folder.write("experiment.json", "{\"task\": \"gate\"," + members + "}");
    return complaint(folder);
  };
  std::string arms, seeds;
  for (int i = 0; i < 900; ++i) {
    arms += base::concat(i == 0 ? "" : ",", "{\"label\": \"", i, "\", \"estimator\": \"n\"}");
    seeds += base::concat(i == 0 ? "" : ",", i);
  }
  EXPECT_THAT(with("\"arms\": [" + arms + "], \"seeds\": [" + seeds + "]"), HasSubstr("900 arms with 900 seeds"));
  EXPECT_THAT(with("\"arms\": [" + arms + "], \"seeds\": [1]"), "");
  EXPECT_THAT(with("\"seeds\": [1, 2, 1]"), HasSubstr("seed 1 is there twice"));
  EXPECT_THAT(with("\"seeds\": [1e3]"), HasSubstr("'seeds' holds something"));
  EXPECT_THAT(with("\"x\": 1e999"), HasSubstr("experiment.json:1:"));
  EXPECT_THAT(with("\"arms\": [{\"label\": \"" + std::string(5000, 'x') + "\", \"estimator\": \"n\"}]"),
              HasSubstr("'label' has 5000 bytes"));
  EXPECT_THAT(with("\"arms\": [{\"label\": \"a\", \"estimator\": \"n\", \"num_samples\": 1e300}]"),
              HasSubstr("'num_samples' is 1e+300"));
  std::filesystem::create_directory(folder.path() / "studies.jsonl");
  EXPECT_THROW(read_experiment(folder.path()), base::Error);
}

TEST(ReportExperiment, RefusesFoldersOfSomethingElse) {
  testing::TemporaryFolder empty;
  try {
    read_experiment(empty.path());
    FAIL();
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("holds no experiment.json"));
  }
  ExperimentFolder folder;
  folder.add_arm("a b", "flip");
  folder.add_arm("a/b", "flip");  // both in a_b-seed0
  EXPECT_THAT(complaint(folder), HasSubstr("two arms"));
  folder.write("experiment.json", "{\"title\": \"no task\"}");
  EXPECT_THAT(complaint(folder), HasSubstr("'task' is missing"));
}

TEST(ReportComparison, MeansOverFinishedSeeds) {
  ExperimentFolder folder;
  folder.add_usual_arms();
  std::filesystem::remove(folder.path() / "disarm_joint_K2-seed1" / "result.json");
  const Experiment experiment = read_experiment(folder.path());
  const ResultValue loss = score_value(&Result::equal_steps, &Score::loss);
  EXPECT_DOUBLE_EQ(over_seeds(experiment, 1, loss).value().mean, 0.5);
  EXPECT_EQ(over_seeds(experiment, 2, loss).value().count, 1);
  EXPECT_FALSE(over_seeds(experiment, 2, [](const Result& result) { return result.rosa_only_accuracy; }));
}

TEST(ReportComparison, TheNewestStudyOfAnArmAtItsOwnSamples) {
  ExperimentFolder folder;
  folder.add_usual_arms();
  const auto study = [](int step, const char* label, int samples, double variance) -> ExperimentFolder::Json {
    return {{"kind", "variance"}, {"step", step},           {"label", label},      {"estimator", "disarm"},
            {"scope", "joint"},   {"num_samples", samples}, {"variance", variance}};
  };
  folder.write_lines("studies.jsonl", {study(100, "disarm/joint K2", 2, 30), study(0, "disarm/joint K2", 2, 20),
                                       study(200, "disarm/joint K8", 8, 5)});
  const Experiment experiment = read_experiment(folder.path());
  const VarianceStudy* found = study_of(experiment, experiment.arms[2]);
  ASSERT_NE(found, nullptr);
  EXPECT_DOUBLE_EQ(found->variance.value(), 30);
  EXPECT_EQ(study_of(experiment, experiment.arms[1]), nullptr);
}

TEST(ReportComparison, FewArmsShareAChartManyAreGroupedByScope) {
  ExperimentFolder folder;
  folder.add_usual_arms();
  const std::vector<ArmGroup> one = arm_groups(read_experiment(folder.path()));
  ASSERT_EQ(one.size(), 1u);
  EXPECT_THAT(one[0].names, ElementsAre("none", "flip", "disarm"));
  for (const char* scope : {"joint", "channel", "causal"}) {
    folder.add_arm(std::string("leg/") + scope, "leg", scope);
    folder.add_arm(std::string("rloo/") + scope + " K2", "rloo", scope, 2);
  }
  folder.add_arm("rloo/causal K4", "rloo", "causal", 4);
  const std::vector<ArmGroup> groups = arm_groups(read_experiment(folder.path()));
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].title, "causal");
  EXPECT_THAT(groups[0].names, ElementsAre("none", "flip", "leg", "rloo/causal K2", "rloo/causal K4"));
  EXPECT_THAT(groups[1].names, ElementsAre("none", "disarm", "leg", "rloo"));
}

TEST(ReportComparison, SaysWhoEndsLowestAndHowManyBeatTheControl) {
  ExperimentFolder folder;
  folder.add_usual_arms();
  // 0.8 and 0.9 lie below 1.2 and 1.4 by more than the deviations (0.85 + 0.07 < 1.3 - 0.14).
  EXPECT_THAT(findings(read_experiment(folder.path())).at(0),
              AllOf(HasSubstr("flip/causal ends with the lowest loss: 0.500 ± 0.141"),
                    HasSubstr("“none” ends at 1.300 ± 0.141"), HasSubstr("2 of 2 arms end below")));
  folder.write("disarm_joint_K2-seed0/result.json", ExperimentFolder::result(1.5).dump());
  EXPECT_THAT(findings(read_experiment(folder.path())).at(0), HasSubstr("1 of 2 arms end below"));
}

}  // namespace
}  // namespace rosa::report
