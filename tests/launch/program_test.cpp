// The program from outside: exit codes, help, and the subcommands that need no run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using testing::JobResult;
using testing::rosa_program;
using testing::run_job;
using testing::TinyRun;

// rosa with these arguments, separated by blanks.
JobResult rosa(const std::string& arguments) {
  std::vector<std::string> command = {rosa_program()};
  std::istringstream words(arguments);
  for (std::string word; words >> word;) command.push_back(word);
  return run_job(command);
}

std::string write_yaml(const std::string& text) {
  static int count = 0;
  const std::string path = ::testing::TempDir() + "program_test_" + std::to_string(count++) + ".yaml";
  std::ofstream(path) << text;
  return path;
}

TEST(Program, HelpNamesEverySubcommandAndTheExitCodes) {
  const JobResult result = rosa("--help");
  EXPECT_EQ(result.exit_code, 0);
  for (const char* word : {"doctor", "config", "Exit codes", "--version"}) EXPECT_THAT(result.output, HasSubstr(word));
}

TEST(Program, WrongUsageIsExitCode2) {
  EXPECT_EQ(rosa("").exit_code, 2);
  EXPECT_EQ(rosa("trian").exit_code, 2);
  EXPECT_EQ(rosa("config").exit_code, 2);
  EXPECT_EQ(rosa("config check").exit_code, 2);
  EXPECT_EQ(rosa("doctor --nonsense").exit_code, 2);
}

TEST(Program, AWrongConfigurationIsExitCode2WithEveryError) {
  const std::string path = write_yaml("trian:\n  num_steps: 3\ntrain:\n  num_steps: 0\n");
  const JobResult result = rosa("config check " + path + " --set run.sede=3");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr(path + ":1: trian: unknown key; did you mean train?"));
  EXPECT_THAT(result.output,
              HasSubstr(path + ":4: train.num_steps: expected an integer from 1 to 1000000000, got '0'"));
  EXPECT_THAT(result.output, HasSubstr("--set run.sede: unknown key; did you mean run.seed?"));
}

TEST(Program, AMissingConfigurationIsExitCode2) {
  const JobResult result = rosa("config dump /no/such.yaml");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr("/no/such.yaml"));
  EXPECT_THAT(result.output, HasSubstr("rosa: rank 0 on "));
}

TEST(Program, SectionsThatDoNotAgreeAreExitCode2) {
  const std::string path = write_yaml(
      "recipe: rosa_soft\nadapter: {estimator: bit_flip}\nrun: {folder: r}\nmodel: {folder: m}\ndata: {kind: "
      "phrases}\n");
  const JobResult result = rosa("config check " + path);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr(":2: adapter.estimator: is bit_flip, which has no soft output"));
  EXPECT_THAT(result.output, HasSubstr("set schedules.alpha start and end to 1"));
  const JobResult agreed = rosa("config check " + path + " --set schedules.alpha.start=1");
  EXPECT_EQ(agreed.exit_code, 0) << agreed.output;
}

TEST(Program, TheDumpShowsSourcesAndReadsBack) {
  const std::string path = write_yaml(
      "recipe: rosa_soft\ntrain:\n  num_steps: 7\nrun: {folder: r}\nmodel: {folder: m}\ndata: {kind: phrases}\n");
  const JobResult first = rosa("config dump " + path + " --set run.seed=5");
  EXPECT_EQ(first.exit_code, 0) << first.output;
  EXPECT_THAT(first.output, HasSubstr("num_steps: 7  # " + path + ":3"));
  EXPECT_THAT(first.output, HasSubstr("seed: 5  # --set"));
  EXPECT_THAT(first.output, HasSubstr("# recipe rosa_soft"));
  EXPECT_THAT(first.output, HasSubstr("# default"));
  const std::string again = ::testing::TempDir() + "program_test_dump.yaml";
  std::ofstream(again) << first.output;
  EXPECT_EQ(rosa("config check " + again).exit_code, 0);
}

TEST(Program, TheCommittedReferenceIsTheProgramsOwn) {
  for (const auto& [command, document] : {std::pair{"config reference", "configuration.md"},
                                          std::pair{"config reference experiment", "experiment_configuration.md"},
                                          std::pair{"config reference suite", "suite_configuration.md"},
                                          std::pair{"config reference metrics", "metrics.md"}}) {
    std::ifstream file(std::string(ROSA_SOURCE_DIR "/docs/") + document);
    const std::string committed{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(rosa(command).output, committed) << "run: build/bin/rosa " << command << " > docs/" << document;
  }
}

TEST(Program, EveryShippedConfigurationIsGood) {
  std::string files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(ROSA_SOURCE_DIR "/configs")) {
    if (entry.path().extension() == ".yaml") files += " " + entry.path().string();
  }
  ASSERT_FALSE(files.empty());
  const JobResult result = rosa("config check" + files);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, Not(HasSubstr("has no effect")));
}

TEST(Program, ConfigCheckTellsOfAKeyThatNothingReads) {
  const JobResult result =
      rosa("config check " ROSA_SOURCE_DIR "/configs/demo/lines.yaml --set loss.alignment_by=cosine");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("lines.yaml: good\n  but loss.alignment_by has no effect: loss.alignment is 0"));
}

// The whole way at the smallest size: a base model, its distillation on two ranks, and what works from the run folder.
TEST(Program, PretrainsDistilsEvaluatesAndGenerates) {
  const std::string work = ::testing::TempDir() + "program_test_runs";
  std::filesystem::remove_all(work);
  const std::string common =
      "data: {kind: phrases, sequence_length: 48, vocabulary_size: 72}\n"
      "evaluation: {every: 2, num_sequences: 2}\n"
      "logging: {every: 1}\n";
  const std::string base = write_yaml(common + "model: {from_scratch: true, architecture: {vocab_size: 72}}\n" +
                                      "train: {num_steps: 2, trainable: ['*']}\nloss: {distill_alpha: 0}\n" +
                                      "run: {folder: " + work + "/base}\n");
  const JobResult pretrained = rosa("pretrain " + base);
  ASSERT_EQ(pretrained.exit_code, 0) << pretrained.output;

  const std::string student =
      write_yaml(common + "model: {folder: " + work + "/base/model}\n" + "student: {sliding_window: 8}\n" +
                 "train: {num_steps: 4, micro_batches: 2}\n" + "run: {folder: " + work + "/run}\n");
  const JobResult trained = run_job({rosa_program(), "train", student}, {.num_ranks = 2});
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("step 4/4  loss"));
  EXPECT_THAT(trained.output, HasSubstr("evaluation after step 4"));
  EXPECT_TRUE(std::filesystem::exists(work + "/run/logs/rank_0001.log"));
  std::ifstream metrics(work + "/run/metrics.jsonl");
  EXPECT_EQ(std::count(std::istreambuf_iterator<char>(metrics), {}, '\n'), 4 + 2);

  const JobResult again = run_job({rosa_program(), "train", student}, {.num_ranks = 2});
  EXPECT_EQ(again.exit_code, 0) << again.output;
  EXPECT_THAT(again.output, HasSubstr("resumed from"));

  const JobResult scored = rosa("eval " + work + "/run -o " + work + "/scores.json");
  EXPECT_EQ(scored.exit_code, 0) << scored.output;
  EXPECT_THAT(scored.output, HasSubstr("window + ROSA"));
  EXPECT_TRUE(std::filesystem::exists(work + "/scores.json"));

  for (const char* model : {"rosa", "window", "teacher"}) {
    const JobResult generated = rosa("generate " + work + "/run --print-ids --ids 1,2,3,1,2 -n 4 --model " + model);
    EXPECT_EQ(generated.exit_code, 0) << generated.output;
    EXPECT_THAT(generated.output, HasSubstr("1 2 3 1 2 "));
  }

  EXPECT_EQ(rosa("train " + student + " --set model.folder=/no/such").exit_code, 7);
  EXPECT_EQ(rosa("eval " + work).exit_code, 2);
  EXPECT_EQ(rosa("train " + student + " --set run.folder=").exit_code, 2);
}

std::string bytes_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Program, OneTwoAndFourRanksWriteTheSameBytes) {
  const testing::TemporaryFolder work;
  std::map<int, std::string> adapters;
  for (const int num_ranks : {1, 2, 4}) {
    const TinyRun tiny(work / ("ranks_" + std::to_string(num_ranks)), 3);
    const JobResult trained = run_job(tiny.train_command(), {.num_ranks = num_ranks});
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
    adapters[num_ranks] = bytes_of_file(tiny.checkpoint(3) / "adapter.safetensors");
  }
  EXPECT_FALSE(adapters[1].empty());
  EXPECT_TRUE(adapters[2] == adapters[1]);
  EXPECT_TRUE(adapters[4] == adapters[1]);
}

TEST(Program, ASecondJobInARunFolderIsKeptOut) {
  const testing::TemporaryFolder work;
  const TinyRun run(work / "run", 1000000);
  testing::Job first(run.train_command({"checkpoint.every=100000"}));
  ASSERT_TRUE(first.wait_for_output("loss")) << first.output();
  const JobResult second = run_job(run.train_command(), {.num_ranks = 2});
  EXPECT_EQ(second.exit_code, 7) << second.output;
  EXPECT_THAT(second.output, HasSubstr("is in use by process "));
  first.send_signal(SIGINT);
  const JobResult result = first.wait();
  EXPECT_EQ(result.exit_code, 75) << result.output;
  EXPECT_THAT(result.output, HasSubstr("saved step"));
}

TEST(Program, AKilledRunGoesOnToTheSameBytes) {
  constexpr int kNumSteps = 60;
  const testing::TemporaryFolder work;
  const TinyRun whole(work / "whole", kNumSteps), killed(work / "killed", kNumSteps);
  const JobResult uninterrupted = run_job(whole.train_command());
  ASSERT_EQ(uninterrupted.exit_code, 0) << uninterrupted.output;
  testing::Job first(killed.train_command());
  ASSERT_TRUE(first.wait_for_path(killed.checkpoint(2))) << first.output();
  first.send_signal(SIGKILL);
  EXPECT_EQ(first.wait().exit_code, 128 + SIGKILL);
  ASSERT_FALSE(std::filesystem::exists(killed.checkpoint(kNumSteps))) << "the run ended before it was killed";
  const JobResult second = run_job(killed.train_command());
  ASSERT_EQ(second.exit_code, 0) << second.output;
  EXPECT_THAT(second.output, HasSubstr("resumed from"));
  EXPECT_TRUE(bytes_of_file(killed.checkpoint(kNumSteps) / "adapter.safetensors") ==
              bytes_of_file(whole.checkpoint(kNumSteps) / "adapter.safetensors"));
  const std::string metrics = bytes_of_file(killed.folder() / "metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), kNumSteps) << "each step stands once";
}

// The main job on the fast corpus, from the shipped configuration and teacher to the figures.
TEST(Program, TheDemoLearnsToRecallPhrases) {
  const std::string folder = ::testing::TempDir() + "program_test_demo";
  std::filesystem::remove_all(folder);
  const JobResult demo = run_job({rosa_program(), "demo", "--parts", "phrases", "--folder", folder},
                                 {.num_ranks = 2, .folder = ROSA_SOURCE_DIR}, testing::Seconds(600));
  ASSERT_EQ(demo.exit_code, 0) << demo.output;
  const auto summary = nlohmann::json::parse(bytes_of_file(folder + "/summary.json"));
  const auto& phrases = summary.at("phrases");
  EXPECT_GE(phrases.at("gap_closed"), 0.9) << demo.output;
  const double window = phrases.at("window").at("ce"), teacher = phrases.at("teacher").at("ce");
  for (const char* control : {"rosa_zeroed", "rosa_windowed", "rosa_shuffled"}) {
    EXPECT_LT((window - phrases.at(control).at("ce").get<double>()) / (window - teacher), 0.2) << control;
  }
  EXPECT_TRUE(phrases.contains("recallable"));
}

TEST(Program, DoctorDescribesProgramMachineAndLaunch) {
  const JobResult result = rosa("doctor");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  for (const char* word :
       {"rosa", "LibTorch", "CPU capability", "bfloat16 products", "thread level", "memory", "disk here", "MPI_THREAD",
        "open files", "locked memory", "Network", "its own name resolves to"}) {
    EXPECT_THAT(result.output, HasSubstr(word));
  }
  EXPECT_THAT(result.output, Not(HasSubstr("rank 1")));
}

}  // namespace
}  // namespace rosa
