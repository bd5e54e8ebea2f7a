// Names on the command line: what a wrong one is told, and what --help says. To add one that users write, add a line to
// a table below; what it means stands in launch/command_line.cpp (options and subcommands) or launch/key_names.cpp.
#include "launch/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/tiny_run.h"

namespace rosa::launch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// What `rosa LINE` says; empty where it is accepted (it is not run).
std::string complaint(const std::vector<std::string>& words) {
  Action action;
  const auto program = make_program(action);
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());
    program->parse(reversed);
  } catch (const CLI::ParseError& error) {
    return explain_usage_error(*program, words, error.what());
  }
  return "";
}
std::string complaint(const std::string& line) { return complaint(words_of(line)); }

using Case = std::pair<const char*, const char*>;

TEST(CommandLine, AWrongSubcommandIsToldTheNearest) {
  for (const auto& [line, expected] : std::vector<Case>{
           {"trian run.yaml", "rosa: there is no subcommand trian; did you mean rosa train?"},
           {"trian --dry-run", "did you mean rosa train?"},
           {"TRAIN", "did you mean rosa train?"},
           {"pretain run.yaml", "did you mean rosa pretrain?"},
           {"genrate RUN", "did you mean rosa generate?"},
           {"docter", "did you mean rosa doctor?"},
           {"checkpiont list RUN", "did you mean rosa checkpoint?"},
           {"config chekc run.yaml", "rosa config: there is no subcommand chekc; did you mean rosa config check?"},
           {"checkpoint averge RUN", "did you mean rosa checkpoint average?"},
           {"data pck", "did you mean rosa data pack?"},
       }) {
    EXPECT_THAT(complaint(line), HasSubstr(expected)) << line;
  }
}

TEST(CommandLine, WhatUsersCallASubcommandLeadsToIt) {
  for (const auto& [line, expected] : std::vector<Case>{
           {"evaluate RUN", "did you mean rosa eval?"},
           {"test RUN", "did you mean rosa eval?"},
           {"score RUN", "did you mean rosa eval?"},
           {"validate run.yaml", "did you mean rosa eval or rosa config check?"},
           {"sample RUN", "did you mean rosa generate?"},
           {"chat RUN", "did you mean rosa generate?"},
           {"inference RUN", "did you mean rosa generate?"},
           {"resume RUN", "did you mean rosa train?"},
           {"distill run.yaml", "did you mean rosa train?"},
           {"finetune run.yaml", "did you mean rosa train?"},
           {"pack a.txt", "did you mean rosa data pack?"},
           {"prepare a.txt", "did you mean rosa data pack?"},
           {"tokenise a.txt", "did you mean rosa tokenize?"},
           {"list RUN", "did you mean rosa checkpoint list?"},
           {"verify RUN", "did you mean rosa checkpoint verify or rosa data verify?"},
           {"merge RUN", "did you mean rosa checkpoint average?"},
           {"check run.yaml", "did you mean rosa config check?"},
           {"dump run.yaml", "did you mean rosa config dump?"},
           {"plot RUN", "did you mean rosa report?"},
           {"compare x.yaml", "did you mean rosa experiment?"},
           {"info", "did you mean rosa doctor?"},
           {"help", "did you mean rosa --help?"},
           {"version", "did you mean rosa --version?"},
           {"run.yaml", "did you mean rosa train run.yaml?"},
           {"/", "did you mean rosa eval /?"},
           {"config validate run.yaml", "did you mean rosa config check?"},
           {"config show run.yaml", "did you mean rosa config dump?"},
           {"checkpoint inspect RUN", "did you mean rosa checkpoint show?"},
           {"checkpoint train x", "did you mean rosa train?"},
           {"data tokenize x", "did you mean rosa data pack?"},
       }) {
    EXPECT_THAT(complaint(line), HasSubstr(expected)) << line;
  }
}

TEST(CommandLine, AWrongOptionIsToldTheNearest) {
  for (const auto& [line, expected] : std::vector<Case>{
           {"eval / --chekpoint x", "rosa eval: there is no option --chekpoint; did you mean --checkpoint?"},
           {"eval / --chekpoint=x", "there is no option --chekpoint=x; did you mean --checkpoint?"},
           {"train run.yaml --dryrun", "did you mean --dry-run?"},
           {"train run.yaml --dry_run", "did you mean --dry-run?"},
           {"train run.yaml -set run.seed=1", "did you mean --set?"},
           {"train run.yaml --trace-step 3", "did you mean --trace-steps?"},
           {"train --set run.seed=1 run.yaml --dry-rn", "did you mean --dry-run?"},
           {"generate / --max_new_tokens 5", "did you mean --max-new-tokens?"},
           {"generate / --tempreture 5", "did you mean --temperature?"},
           {"generate / --prompt train --topp 0.5", "did you mean --top-p?"},
           {"data pack a b --ouput c", "did you mean --output?"},
           {"report a --mardown", "did you mean --markdown?"},
           {"--hlep", "did you mean --help?"},
           {"--verison", "did you mean --version?"},
       }) {
    EXPECT_THAT(complaint(line), HasSubstr(expected)) << line;
  }
}

TEST(CommandLine, WhatUsersCallAnOptionLeadsToIt) {
  for (const auto& [line, expected] : std::vector<Case>{
           {"train run.yaml --seed 3", "did you mean --set run.seed=VALUE?"},
           {"train run.yaml --seed=3", "did you mean --set run.seed=3?"},
           {"train run.yaml --steps 10", "did you mean --set train.num_steps=VALUE?"},
           {"train run.yaml --num_steps=10", "did you mean --set train.num_steps=10?"},
           {"train run.yaml --train.num_steps=10", "did you mean --set train.num_steps=10?"},
           {"train run.yaml --epochs 3", "did you mean --set train.num_epochs=VALUE?"},
           {"train run.yaml --lr 1e-4", "did you mean --set schedules.learning_rate.start=VALUE?"},
           {"train run.yaml --learning-rate=1e-4", "did you mean --set schedules.learning_rate.start=1e-4?"},
           {"train run.yaml --batch-size 8", "did you mean --set train.micro_batch_sequences=VALUE?"},
           {"train run.yaml --output-dir x", "did you mean --set run.folder=VALUE?"},
           {"train run.yaml --device cuda", "did you mean --set compute.device=VALUE?"},
           {"train run.yaml --model x", "did you mean --set model.folder=VALUE?"},
           {"train run.yaml --checkpoint x", "did you mean --set checkpoint.resume=VALUE?"},
           {"train run.yaml --warmup-stepz 5", "did you mean --set schedules.learning_rate.warmup_steps"},
           {"train run.yaml --resume", "the same command goes on by itself, and --set checkpoint.resume=FOLDER"},
           {"train run.yaml train.num_steps=5", "did you mean --set train.num_steps=5?"},
           {"train run.yaml -n 4", "ranks are started by launch/run_local.sh -n 2 train ..."},
           {"train --config run.yaml", "it stands without an option: rosa train CONFIG"},
           {"train -c run.yaml", "it stands without an option: rosa train CONFIG"},
           {"eval --run-folder x", "it stands without an option: rosa eval RUN"},
           {"eval / --ckpt x", "did you mean --checkpoint?"},
           {"eval / --num-sequences 3", "did you mean --set evaluation.num_sequences=VALUE?"},
           {"eval / --temperature 3", "did you mean"},
           {"eval / --top-k 3", "rosa generate has it"},
           {"generate / --max-tokens 3", "did you mean --max-new-tokens?"},
           {"generate / --text abc", "did you mean --prompt?"},
           {"data pack a --out x", "did you mean --output?"},
           {"data pack a -o b --vocab-size 9", "did you mean --vocabulary-size?"},
           {"experiment x.yaml --steps 5", "did you mean --set experiment.num_steps=VALUE?"},
       }) {
    EXPECT_THAT(complaint(line), HasSubstr(expected)) << line;
  }
}

TEST(CommandLine, WhatIsMissingIsNamed) {
  EXPECT_THAT(complaint(""), AllOf(HasSubstr("rosa: name a subcommand: demo, train"), HasSubstr("rosa --help")));
  EXPECT_THAT(complaint("config"), HasSubstr("rosa config: name a subcommand: check, dump, reference"));
  EXPECT_THAT(complaint("train"), HasSubstr("rosa train: CONFIG is required (rosa train --help shows what it takes)"));
  EXPECT_THAT(complaint("train a.yaml b.yaml"), HasSubstr("rosa train: 'b.yaml' is one argument too many"));
  EXPECT_THAT(complaint("eval /no/such"), HasSubstr("rosa eval: RUN"));
  EXPECT_THAT(complaint("generate / --model none"), AllOf(HasSubstr("none"), HasSubstr("window")));
}

// Nothing near: no guess.
TEST(CommandLine, FarNamesAreNotGuessed) {
  EXPECT_THAT(complaint("xylophone"), Not(HasSubstr("did you mean")));
  EXPECT_THAT(complaint("train run.yaml --xylophone"), Not(HasSubstr("did you mean")));
}

TEST(CommandLine, RightOnesAreAccepted) {
  for (const char* line : {"train run.yaml --dry-run", "train run.yaml --trace --set run.seed=1", "config reference",
                           "train run.yaml --trace=t.json --trace-steps 5 --set run.seed=1 --set train.num_steps=3",
                           "generate / --prompt -x -n 5 --temperature 0.5", "data pack a b -o c --separator --",
                           "demo --parts lines,phrases", "config check a.yaml b.yaml --set run.seed=1", "doctor"}) {
    EXPECT_EQ(complaint(line), "") << line;
  }
}

TEST(CommandLine, AComplaintIsOneLineWhateverWasWritten) {
  const std::string nasty = "--\x1b[31mred\nrosa: rank 0 says it is done";
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{nasty},
                                             {"train", "run.yaml", nasty},
                                             {"tr\nain"},
                                             {"---"},
                                             {"train", "run.yaml", "---=x"},
                                             {"train", "a.yaml", "b\n\x1b.yaml"},
                                             {"eval", "/no\nsuch"}}) {
    const std::string text = complaint(words);
    EXPECT_THAT(text, AllOf(Not(HasSubstr("\n")), Not(HasSubstr("\x1b")), StartsWith("rosa"))) << words.front();
  }
}

void collect_commands(CLI::App* command, const std::string& path, std::map<std::string, CLI::App*>& all) {
  all[path] = command;
  for (CLI::App* sub : command->get_subcommands([](CLI::App* one) { return !one->get_name().empty(); })) {
    collect_commands(sub, path + " " + sub->get_name(), all);
  }
}

// Whoever asks for --help sees what it is for and what each option means.
TEST(CommandLine, EveryHelpExplainsItsOptions) {
  Action action;
  const auto program = make_program(action);
  std::map<std::string, CLI::App*> all;
  collect_commands(program.get(), "rosa", all);
  ASSERT_GE(all.size(), 18U);
  for (const auto& [path, command] : all) {
    EXPECT_FALSE(command->get_description().empty()) << path;
    for (const CLI::Option* option : command->get_options()) {
      EXPECT_FALSE(option->get_description().empty()) << path << " " << option->get_name();
    }
  }
}

// The command lines of rosa that a text shows: in --help, or in a shell block of a page. Folders of runs, which are not
// there, become "/".
std::vector<std::vector<std::string>> shown_command_lines(std::istream& text, bool is_page) {
  const std::set<std::string> ends = {"|", "&&", ";", "..."};
  std::vector<std::vector<std::string>> found;
  bool in_shell = !is_page;
  std::string continued;
  for (std::string line; std::getline(text, line);) {
    if (is_page && line.starts_with("```")) in_shell = line == "```sh";
    line = continued + line.substr(0, std::min(line.size(), line.find(" #")));
    continued = line.ends_with("\\") ? line.substr(0, line.size() - 1) : "";
    if (!in_shell || !continued.empty()) continue;
    std::vector<std::string> words = CLI::detail::split_up(line);  // as a shell does, with quotes
    const auto program = std::find_if(words.begin(), words.end(), [](const std::string& word) {
      return word == "rosa" || word.ends_with("bin/rosa");
    });
    if (program == words.end() || program + 1 == words.end()) continue;
    words = {program + 1,
             std::find_if(program, words.end(), [&](const std::string& word) { return ends.contains(word); })};
    for (std::string& word : words) {
      if (word.starts_with("runs/") || word == "RUN" || word == "R") word = "/";
    }
    found.push_back(words);
  }
  return found;
}

TEST(CommandLine, ExamplesOfTheHelpAreAccepted) {
  Action action;
  const auto program = make_program(action);
  std::map<std::string, CLI::App*> all;
  collect_commands(program.get(), "rosa", all);
  for (const auto& [path, command] : all) {
    std::string examples;
    std::istringstream footer(command->get_footer());
    for (std::string line; std::getline(footer, line);) {
      if (line.starts_with("  rosa ")) examples += line + "\n";
    }
    std::istringstream text(examples);
    const auto lines = shown_command_lines(text, /*is_page=*/false);
    const bool is_leaf = command->get_subcommands([](CLI::App* one) { return !one->get_name().empty(); }).empty();
    EXPECT_TRUE(!is_leaf || !lines.empty()) << path;
    for (const auto& words : lines) EXPECT_EQ(complaint(words), "") << path;
  }
}

TEST(CommandLine, ExamplesOfThePagesAreAccepted) {
  const std::filesystem::path root(ROSA_SOURCE_DIR);
  std::vector<std::filesystem::path> pages = {root / "README.md", root / "CONTRIBUTING.md"};
  for (const auto& entry : std::filesystem::directory_iterator(root / "docs")) {
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  }
  int num_lines = 0;
  for (const std::filesystem::path& page : pages) {
    std::ifstream text(page);
    for (const auto& words : shown_command_lines(text, /*is_page=*/true)) {
      EXPECT_EQ(complaint(words), "") << page;
      ++num_lines;
    }
  }
  EXPECT_GE(num_lines, 20);
}

TEST(CommandLine, TheProgramSaysItOnOneLineWithExitCode2) {
  for (const char* line : {"trian run.yaml", "doctor --nonsense", "config", "train run.yaml --lr 3"}) {
    std::vector<std::string> command = words_of(line);
    command.insert(command.begin(), testing::rosa_program());
    const testing::JobResult result = testing::run_job(command);
    EXPECT_EQ(result.exit_code, 2) << line;
    EXPECT_EQ(result.output, complaint(line) + "\n");
  }
}

TEST(CommandLine, AnOptionWithNothingBehindItIsToldWhatItNeeds) {
  for (const auto& [line, expected] : std::vector<Case>{
           {"train run.yaml --set", "--set needs KEY=VALUE after it, but the line ends there, for instance --set "},
           {"config check run.yaml --set", "--set needs KEY=VALUE after it"},
           {"eval / --checkpoint", "--checkpoint needs TEXT after it, but the line ends there (rosa eval --help"},
           {"generate / -n", "--max-new-tokens needs INT after it"},
       }) {
    EXPECT_THAT(complaint(line), HasSubstr(expected)) << line;
  }
}

// A line end or control character in what a user gave is escaped wherever it is said, and what is said is one line.
TEST(CommandLine, NamesWithLineEndsAreEscaped) {
  const testing::TemporaryFolder folder;
  const testing::TinyRun run(folder / "run", 2);
  const std::string config = run.config().string();
  const std::string odd = "no\nsuch\x1b[2J";
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"train", odd},
           {"train", config, "--set", "model.folder=" + odd},
           {"train", config, "--set", "data.kind=" + odd},
           {"train", config, "--set", "run.seed=" + odd},
           {"train", config, "--set", odd + "=1"},
           {"train", config, "--set", odd},
           {"train", config, "--set", "data.kind=crops", "data.train_path=" + odd, "data.held_out_path=" + odd},
           {"train", config, "--set", "checkpoint.resume=" + odd},
           {"train", config, "--set", "train.init_from=" + odd},
           {"train", config, "--accept-changed", odd},
           {"pretrain", odd},
           {"eval", odd},
           {"eval", folder.path().string(), "--variants", odd},
           {"generate", odd, "--prompt", "x"},
           {"config", "check", odd},
           {"config", "dump", odd},
           {"checkpoint", "list", odd},
           {"checkpoint", "verify", odd},
           {"checkpoint", "average", odd, "-o", "x"},
           {"data", "show", odd},
           {"data", "verify", odd},
           {"data", "pack", odd, "--bytes", "-o", (folder / "x").string()},
           {"export", odd, "-o", (folder / "x").string()},
           {"report", odd},
           {"experiment", odd},
           {"tokenize", odd},
           {odd},
           {"train", "--" + odd},
       }) {
    const testing::JobResult result = testing::run_rosa(words, {.folder = folder.path()});
    const std::string line = ::testing::PrintToString(words) + "\n" + result.output;
    EXPECT_NE(result.exit_code, 0) << line;
    EXPECT_THAT(result.output, HasSubstr("no\\nsuch\\x1b[2J")) << line;
    EXPECT_THAT(result.output, Not(HasSubstr("\x1b"))) << line;
    std::istringstream lines(result.output);
    int num_messages = 0;
    for (std::string each; std::getline(lines, each);) {
      const bool is_log = each.find(" info ") != std::string::npos || each.find(" warning ") != std::string::npos;
      if (!is_log && !each.starts_with("  ")) ++num_messages;  // a list of errors is indented
    }
    EXPECT_EQ(num_messages, 1) << line;
  }
}

// The reader's list looks the same whoever reads.
TEST(CommandLine, SeveralErrorsStandOnLinesOfTheirOwn) {
  const testing::TemporaryFolder folder;
  const testing::TinyRun run(folder / "run", 2);
  const std::string config = run.config().string();
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"train"}, {"config", "check"}, {"config", "dump"}}) {
    std::vector<std::string> words = command;
    words.insert(words.end(), {config, "--set", "train.micro_batches=0", "run.sede=1"});
    const testing::JobResult result = testing::run_rosa(words);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.output, AllOf(HasSubstr("has 2 errors:\n  --set train.micro_batches: "),
                                     HasSubstr("\n  --set run.sede: unknown key")));
  }
}

}  // namespace
}  // namespace rosa::launch
