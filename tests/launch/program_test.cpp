// The program from outside: exit codes, help, and the subcommands that need no run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Result {
  int exit_code = -1;
  std::string output;  // both streams
};

// The deadline is ten times what a command takes on an idle machine.
Result run(const std::string& command, int deadline_s = 120) {
  Result result;
  FILE* pipe = popen(("timeout -k 5 " + std::to_string(deadline_s) + " " + command + " 2>&1 </dev/null").c_str(), "r");
  if (pipe == nullptr) return result;
  std::array<char, 4096> buffer{};
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    result.output.append(buffer.data(), count);
  }
  const int status = pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return result;
}

Result rosa(const std::string& arguments) { return run(std::string(ROSA_BINARY_DIR) + "/bin/rosa " + arguments); }

std::string write_yaml(const std::string& text) {
  static int count = 0;
  const std::string path = ::testing::TempDir() + "program_test_" + std::to_string(count++) + ".yaml";
  std::ofstream(path) << text;
  return path;
}

TEST(Program, HelpNamesEverySubcommandAndTheExitCodes) {
  const Result result = rosa("--help");
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
  const Result result = rosa("config check " + path + " --set run.sede=3");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr(path + ":1: trian: unknown key; did you mean train?"));
  EXPECT_THAT(result.output, HasSubstr(path + ":4: train.num_steps: expected an integer of at least 1, got '0'"));
  EXPECT_THAT(result.output, HasSubstr("--set run.sede: unknown key; did you mean run.seed?"));
}

TEST(Program, AMissingConfigurationIsExitCode2) {
  const Result result = rosa("config dump /no/such.yaml");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr("/no/such.yaml"));
  EXPECT_THAT(result.output, HasSubstr("rosa: rank 0 on "));
}

TEST(Program, TheDumpShowsSourcesAndReadsBack) {
  const std::string path = write_yaml("recipe: rosa_soft\ntrain:\n  num_steps: 7\n");
  const Result first = rosa("config dump " + path + " --set run.seed=5");
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
  const Result result = rosa("config reference");
  std::ifstream file(ROSA_SOURCE_DIR "/docs/configuration.md");
  const std::string committed{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(result.output, committed) << "run: build/bin/rosa config reference > docs/configuration.md";
}

TEST(Program, EveryShippedConfigurationIsGood) {
  std::string files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(ROSA_SOURCE_DIR "/configs")) {
    if (entry.path().extension() == ".yaml") files += " " + entry.path().string();
  }
  ASSERT_FALSE(files.empty());
  const Result result = rosa("config check" + files);
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

std::string mpi_run(int num_ranks) {
  return "mpirun --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -np " +
         std::to_string(num_ranks) + " ";
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
  const Result pretrained = rosa("pretrain " + base);
  ASSERT_EQ(pretrained.exit_code, 0) << pretrained.output;

  const std::string student =
      write_yaml(common + "model: {folder: " + work + "/base/model}\n" + "student: {sliding_window: 8}\n" +
                 "train: {num_steps: 4, micro_batches: 2}\n" + "run: {folder: " + work + "/run}\n");
  const std::string ranks = mpi_run(2);
  const Result trained = run(ranks + ROSA_BINARY_DIR + "/bin/rosa train " + student);
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("step 4/4  loss"));
  EXPECT_THAT(trained.output, HasSubstr("evaluation after step 4"));
  EXPECT_TRUE(std::filesystem::exists(work + "/run/logs/rank_0001.log"));
  std::ifstream metrics(work + "/run/metrics.jsonl");
  EXPECT_EQ(std::count(std::istreambuf_iterator<char>(metrics), {}, '\n'), 4 + 2);

  const Result again = run(ranks + ROSA_BINARY_DIR + "/bin/rosa train " + student);
  EXPECT_EQ(again.exit_code, 0) << again.output;
  EXPECT_THAT(again.output, HasSubstr("resumed from"));

  const Result scored = rosa("eval " + work + "/run -o " + work + "/scores.json");
  EXPECT_EQ(scored.exit_code, 0) << scored.output;
  EXPECT_THAT(scored.output, HasSubstr("window + ROSA"));
  EXPECT_TRUE(std::filesystem::exists(work + "/scores.json"));

  for (const char* model : {"rosa", "window", "teacher"}) {
    const Result generated = rosa("generate " + work + "/run --print-ids --ids 1,2,3,1,2 -n 4 --model " + model);
    EXPECT_EQ(generated.exit_code, 0) << generated.output;
    EXPECT_THAT(generated.output, HasSubstr("1 2 3 1 2 "));
  }

  EXPECT_EQ(rosa("train " + student + " --set model.folder=/no/such").exit_code, 7);
  EXPECT_EQ(rosa("eval " + work).exit_code, 2);
  EXPECT_EQ(rosa("train " + student + " --set run.folder=''").exit_code, 2);
}

// A student of a random base, to be trained for `num_steps` of four micro-batches in FOLDER.
std::string small_run(const std::string& work, const std::string& folder, int num_steps) {
  const std::string common =
      "data: {kind: phrases, sequence_length: 48, vocabulary_size: 72}\n"
      "evaluation: {every: 0}\nlogging: {every: 1}\n";
  if (!std::filesystem::exists(work + "/base/model")) {
    const Result base =
        rosa("pretrain " + write_yaml(common + "model: {from_scratch: true, architecture: {vocab_size: 72}}\n" +
                                      "train: {num_steps: 1, trainable: ['*']}\n" +
                                      "loss: {distill_alpha: 0}\nrun: {folder: " + work + "/base}\n"));
    EXPECT_EQ(base.exit_code, 0) << base.output;
  }
  return write_yaml(common + "model: {folder: " + work + "/base/model}\nstudent: {sliding_window: 8}\n" +
                    "schedules: {learning_rate: {start: 1.0e-2}}\ncheckpoint: {every: 2}\n" +
                    "train: {num_steps: " + std::to_string(num_steps) + ", micro_batches: 4}\n" +
                    "run: {folder: " + work + "/" + folder + "}\n");
}

std::string bytes_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Program, OneTwoAndFourRanksWriteTheSameBytes) {
  const std::string work = ::testing::TempDir() + "program_test_ranks";
  std::filesystem::remove_all(work);
  std::map<int, std::string> adapters;
  for (const int num_ranks : {1, 2, 4}) {
    const std::string folder = "ranks_" + std::to_string(num_ranks);
    const std::string config = small_run(work, folder, 3);
    const Result trained = run(mpi_run(num_ranks) + ROSA_BINARY_DIR + "/bin/rosa train " + config);
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
    adapters[num_ranks] = bytes_of_file(work + "/" + folder + "/checkpoints/step_00000003/adapter.safetensors");
  }
  EXPECT_FALSE(adapters[1].empty());
  EXPECT_TRUE(adapters[2] == adapters[1]);
  EXPECT_TRUE(adapters[4] == adapters[1]);
}

TEST(Program, AKilledRunGoesOnToTheSameBytes) {
  const std::string work = ::testing::TempDir() + "program_test_killed";
  std::filesystem::remove_all(work);
  const std::string last = "/checkpoints/step_00000060/adapter.safetensors";
  const Result whole = rosa("train " + small_run(work, "whole", 60));
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  const std::string killed = small_run(work, "killed", 60);
  // SIGKILL as soon as the first checkpoint stands; the deadline is for a run that never writes one.
  const Result first = run(
      "timeout 120 sh -c '" + std::string(ROSA_BINARY_DIR) + "/bin/rosa train " + killed + " & job=$!; while [ ! -d " +
      work + "/killed/checkpoints/step_00000002 ]; do sleep 0.01; done; " + "kill -KILL $job; wait $job'");
  EXPECT_EQ(first.exit_code, 137) << first.output;
  ASSERT_FALSE(std::filesystem::exists(work + "/killed" + last)) << "the run ended before it was killed";
  const Result second = rosa("train " + killed);
  ASSERT_EQ(second.exit_code, 0) << second.output;
  EXPECT_THAT(second.output, HasSubstr("resumed from"));
  EXPECT_TRUE(bytes_of_file(work + "/killed" + last) == bytes_of_file(work + "/whole" + last));
  const std::string metrics = bytes_of_file(work + "/killed/metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 60) << "each step stands once";
}

// The main job on the fast corpus, from the shipped configuration and teacher to the figures.
TEST(Program, TheDemoLearnsToRecallPhrases) {
  const std::string folder = ::testing::TempDir() + "program_test_demo";
  std::filesystem::remove_all(folder);
  const Result demo = run("env -C " ROSA_SOURCE_DIR " " + mpi_run(2) + ROSA_BINARY_DIR +
                              "/bin/rosa demo --parts phrases --folder " + folder,
                          /*deadline_s=*/600);
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
  const Result result = rosa("doctor");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  for (const char* word : {"rosa", "LibTorch", "CPU capability", "thread level", "memory", "disk here", "MPI_THREAD"}) {
    EXPECT_THAT(result.output, HasSubstr(word));
  }
  EXPECT_THAT(result.output, Not(HasSubstr("rank 1")));
}

}  // namespace
