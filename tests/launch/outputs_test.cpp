// What the program writes and where: outputs that would cost somebody a file are refused, links are followed, streams
// are written to, and a standard output that fails is an error of every subcommand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/texts.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::JobResult;
using ::testing::Not;
using testing::run_job;
using testing::run_rosa;
using testing::run_shell;
using ::testing::StartsWith;
using testing::text_of_file;
using testing::TinyRun;
using testing::write_text;

// One finished run for all tests, which none may change.
class Outputs : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new testing::TemporaryFolder;
    const TinyRun tiny(*shared_ / "run", 2);
    const JobResult trained = run_job(tiny.train_command());
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }

  static fs::path run() { return *shared_ / "run"; }
  static fs::path checkpoint() { return run() / "checkpoints/step_00000002"; }

  // In this test's folder.
  JobResult rosa(const std::vector<std::string>& arguments) const {
    return run_rosa(arguments, {.folder = work_.path()});
  }
  // The same with a shell around it: $R is the program, $RUN the run.
  JobResult shell(const std::string& line) const {
    return run_shell(line, {.environment = {{"RUN", run().string()}}, .folder = work_.path()});
  }
  // Exit code 2 with this text, and the file keeps its content.
  void expect_kept(const std::vector<std::string>& arguments, const fs::path& file, const std::string& message) const {
    const std::string before = text_of_file(file);
    const JobResult result = rosa(arguments);
    EXPECT_EQ(result.exit_code, 2) << file << ": " << result.output;
    EXPECT_THAT(result.output, HasSubstr(message)) << file;
    EXPECT_TRUE(text_of_file(file) == before) << file;
  }

  testing::TemporaryFolder work_;

 private:
  static inline testing::TemporaryFolder* shared_ = nullptr;
};

TEST_F(Outputs, AnInputIsNeverReplacedWhateverItIsCalled) {
  write_text(work_ / "a.txt", "my only copy");
  fs::create_directory(work_ / "folder");
  fs::create_symlink("a.txt", work_ / "link");
  fs::create_symlink(work_.path(), work_ / "folder/link");
  fs::create_hard_link(work_ / "a.txt", work_ / "second_name");
  for (const char* name : {"a.txt", "./a.txt", "folder/../a.txt", "link", "folder/link/a.txt", "second_name"}) {
    expect_kept({"data", "pack", "--bytes", "a.txt", "-o", name}, work_ / "a.txt", "is the file that is read");
    expect_kept({"data", "pack", "--bytes", name, "-o", "a.txt", "--force"}, work_ / "a.txt",
                "is the file that is read");
  }
  EXPECT_THAT(shell("cp a.txt b.txt; $R data pack b.txt --bytes -o - >> b.txt; echo code $?; cat b.txt").output,
              EndsWith("code 2\nmy only copy"));
  // The output of the first time is among the inputs of the second.
  fs::create_directory(work_ / "c");
  write_text(work_ / "c/a.txt", "text");
  EXPECT_EQ(rosa({"data", "pack", "--bytes", "c/a.txt", "-o", "c/all.tokens"}).exit_code, 0);
  expect_kept({"data", "pack", "--bytes", "c/a.txt", "c/all.tokens", "-o", "c/all.tokens"}, work_ / "c/all.tokens",
              "does a * among the inputs stand for it too?");
}

TEST_F(Outputs, FilesOfAnotherKindNeedForce) {
  write_text(work_ / "a.txt", "text");
  write_text(work_ / "foreign.json", "{\"teacher\": 1}");
  write_text(work_ / "foreign.html", "<!DOCTYPE html>\n<html><head><style></style></head></html>");
  fs::copy(ROSA_SOURCE_DIR "/tests/data/goldens/qwen3_tied/model.safetensors", work_ / "model.safetensors");
  const std::string run = this->run().string(), checkpoint = this->checkpoint().string();
  const std::vector<std::pair<std::vector<std::string>, std::string>> commands = {
      {{"data", "pack", "--bytes", "a.txt"}, "foreign.json"},
      {{"eval", run, "--variants", "window"}, "foreign.json"},
      {{"report", run}, "foreign.html"},
      {{"checkpoint", "average", checkpoint}, "model.safetensors"},
  };
  for (const auto& [command, name] : commands) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), {"-o", name});
    expect_kept(arguments, work_ / name, "or replace it with --force");
  }
  // With it, and the own kind and an empty file without it.
  EXPECT_EQ(rosa({"data", "pack", "--bytes", "a.txt", "-o", "foreign.json", "--force"}).exit_code, 0);
  EXPECT_THAT(text_of_file(work_ / "foreign.json"), StartsWith("ROSATOK\n"));
  write_text(work_ / "empty", "");
  for (const auto& [command, name] : commands) {
    for (int i = 0; i < 2; ++i) {
      std::vector<std::string> arguments = command;
      arguments.insert(arguments.end(), {"-o", "own_" + command[0]});
      const JobResult result = rosa(arguments);
      EXPECT_EQ(result.exit_code, 0) << result.output;
    }
  }
  EXPECT_EQ(rosa({"data", "pack", "--bytes", "a.txt", "-o", "empty"}).exit_code, 0);
}

TEST_F(Outputs, NothingOfARunIsReplacedEvenWithForce) {
  const fs::path model = ROSA_SOURCE_DIR "/tests/data/goldens/qwen3_tied";
  std::vector<fs::path> files = {model / "config.json", model / "model.safetensors"};
  for (const auto& entry : fs::recursive_directory_iterator(run())) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  ASSERT_GT(files.size(), 8u);
  for (const fs::path& file : files) {
    expect_kept({"eval", run().string(), "--variants", "window", "-o", file.string(), "--force"}, file, "name another");
  }
  for (const char* name : {"adapter.safetensors", "manifest.json"}) {
    expect_kept({"checkpoint", "average", checkpoint().string(), "-o", (checkpoint() / name).string(), "--force"},
                checkpoint() / name, "is a checkpoint, in which nothing else is written");
  }
}

TEST_F(Outputs, AFolderThatIsMissingIsSaidBeforeTheWork) {
  const JobResult result = rosa({"eval", run().string(), "-o", "absent/scores.json"});
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_THAT(result.output, AllOf(HasSubstr("there is no folder 'absent'"), Not(HasSubstr("teacher"))));
}

TEST_F(Outputs, ATraceTakesNoOtherFilesPlace) {
  const TinyRun tiny(work_ / "run", 1);
  std::vector<std::string> command = tiny.train_command();
  command.erase(command.begin());
  command.push_back("--trace=" + tiny.config().string());
  expect_kept(command, tiny.config(), "is the file that is read");
  EXPECT_FALSE(fs::exists(tiny.folder() / "checkpoints"));
  write_text(work_ / "notes.txt", "notes");
  command.back() = "--trace=" + (work_ / "notes.txt").string();
  expect_kept(command, work_ / "notes.txt", "is no trace");
  // Ranks' files have names that can be foreseen.
  fs::create_symlink(work_ / "notes.txt", work_ / "t.rank_0001.json");
  std::vector<std::string> ranks = tiny.train_command();
  ranks.push_back("--trace=" + (work_ / "t.json").string());
  EXPECT_NE(run_job(ranks, {.num_ranks = 2}).exit_code, 0);
  EXPECT_EQ(text_of_file(work_ / "notes.txt"), "notes");
}

TEST_F(Outputs, ARunLeavesFilesOfOthersAlone) {
  const TinyRun tiny(work_ / "run", 1);
  fs::create_directory(tiny.folder());
  for (const char* name : {"config.yaml", "metrics.jsonl"}) {
    write_text(tiny.folder() / name, "{\"mine\": 1}\n");
    expect_kept({"train", tiny.config().string()}, tiny.folder() / name, "choose another run folder");
    fs::remove(tiny.folder() / name);
  }
  const fs::path model = tiny.folder() / "model";
  fs::copy(ROSA_SOURCE_DIR "/tests/data/goldens/qwen3_tied", model);
  expect_kept(
      {"pretrain", tiny.config().string(), "--set", "model.folder=" + model.string(), "--set", "loss.distill_alpha=0"},
      model / "model.safetensors", "choose another run.folder");
}

TEST_F(Outputs, LinksAreFollowedAndStreamsWrittenTo) {
  write_text(work_ / "a.txt", "text");
  ASSERT_EQ(rosa({"data", "pack", "--bytes", "a.txt", "-o", "plain"}).exit_code, 0);
  const std::string expected = text_of_file(work_ / "plain");
  fs::create_symlink("target", work_ / "link");
  ASSERT_EQ(rosa({"data", "pack", "--bytes", "a.txt", "-o", "link"}).exit_code, 0);
  EXPECT_TRUE(fs::is_symlink(work_ / "link"));
  EXPECT_TRUE(text_of_file(work_ / "target") == expected);
  for (const char* line :
       {"$R data pack a.txt --bytes -o - > out", "$R data pack a.txt --bytes -o /dev/stdout > out",
        "$R data pack a.txt --bytes -o >(cat > out); wait $!", "$R data pack a.txt --bytes -o /dev/stdout | cat > out",
        "$R data pack - --bytes -o - < a.txt > out", "$R data pack <(cat a.txt) --bytes -o /dev/fd/5 5> out"}) {
    fs::remove(work_ / "out");
    const JobResult result = shell(line);
    EXPECT_EQ(result.exit_code, 0) << line << result.output;
    EXPECT_TRUE(text_of_file(work_ / "out") == expected) << line;
  }
  const JobResult null = rosa({"data", "pack", "--bytes", "a.txt", "-o", "/dev/null"});
  EXPECT_EQ(null.exit_code, 0) << null.output;
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

// Every subcommand that prints: a disk that is full, no standard output at all, a pipe that nobody reads.
TEST_F(Outputs, AStandardOutputThatFailsIsAnErrorOfEverySubcommand) {
  write_text(work_ / "a.txt", "text");
  write_text(work_ / "b.yaml", "train: {num_steps: 2}\n");
  const auto expect_failure = [this](const std::string& line) {
    const JobResult result = shell(line);
    EXPECT_EQ(result.exit_code, 7) << line << "\n" << result.output;
    const std::string message = "write failed for 'standard output'";
    const size_t first = result.output.find(message);
    EXPECT_NE(first, std::string::npos) << line << "\n" << result.output;
    EXPECT_EQ(result.output.find(message, first + 1), std::string::npos) << line << "\n" << result.output;
    EXPECT_THAT(result.output, Not(HasSubstr("MPI_ABORT"))) << line;
  };
  for (const std::string command :
       {"--help", "--version", "config check $RUN.yaml", "config dump b.yaml", "config reference",
        "data pack a.txt --bytes -o x", "checkpoint list $RUN", "checkpoint show $RUN", "checkpoint verify $RUN",
        "checkpoint average $RUN -o m", "eval $RUN --variants window", "generate $RUN --ids 1,2 -n 2", "doctor",
        "train $RUN.yaml --dry-run"}) {
    expect_failure("$R " + command + " > /dev/full");
  }
  for (const std::string command : {"config dump b.yaml", "generate $RUN --ids 1,2 -n 2"}) {
    expect_failure("$R " + command + " >&-");
    expect_failure("{ sleep 0.5; $R " + command + "; echo $? > code; } | true; exit $(cat code)");
  }
}

TEST_F(Outputs, WithClosedDescriptorsNoLineLandsInAFile) {
  for (const std::string closed : {"2>&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
    const TinyRun tiny(work_ / "run", 2);
    const JobResult result = shell("$R train " + tiny.config().string() + " " + closed);
    EXPECT_EQ(result.exit_code, 0) << closed;
    std::istringstream log(tiny.log(0));
    std::map<std::string, int> counts;
    for (std::string line; std::getline(log, line);) ++counts[line];
    EXPECT_GT(counts.size(), 2u) << closed;
    for (const auto& [line, count] : counts) EXPECT_EQ(count, 1) << closed << ": " << line;
    std::istringstream metrics(text_of_file(tiny.folder() / "metrics.jsonl"));
    for (std::string line; std::getline(metrics, line);) EXPECT_THAT(line, StartsWith("{\"kind\":\"")) << closed;
    fs::remove_all(tiny.folder());
  }
}

}  // namespace
}  // namespace rosa
