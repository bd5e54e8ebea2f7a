// What the program tells a shell: completion, tried in bash, and the man page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/job.h"

namespace rosa {
namespace {

using ::testing::HasSubstr;
using testing::JobResult;
using ::testing::Not;

// What bash offers for the last of the words.
std::string offered(const std::vector<std::string>& words) {
  std::string line = "source <($R completion bash); COMP_WORDS=(";
  for (const std::string& word : words) line += "'" + word + "' ";
  line += "); COMP_CWORD=" + std::to_string(words.size() - 1) + "; _rosa; printf '[%s]' \"${COMPREPLY[@]}\"";
  const JobResult result = testing::run_shell(line);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  return result.output;
}

TEST(Completion, OffersWhatFollows) {
  EXPECT_EQ(offered({"rosa", "tra"}), "[train ]");
  EXPECT_EQ(offered({"rosa", "data", "pa"}), "[pack ]");
  EXPECT_EQ(offered({"rosa", "train", "run.yaml", "--dry"}), "[--dry-run ]");
  EXPECT_EQ(offered({"rosa", "train", "run.yaml", "--set", "train.num_st"}), "[train.num_steps=]");
  EXPECT_EQ(offered({"rosa", "experiment", "e.yaml", "--set", "train.num_st"}), "[]")
      << "another kind of configuration";
  EXPECT_EQ(offered({"rosa", "headroom", "--compute-dtype", "bf"}), "[bfloat16 ]");
  // bash makes words of their own of what stands on both sides of =.
  EXPECT_EQ(offered({"rosa", "headroom", "--compute-dtype", "=", "bf"}), "[bfloat16 ]");
  EXPECT_EQ(offered({"rosa", "train", "--set", "run.seed", "=", "1", "train.num_st"}), "[train.num_steps=]");
  EXPECT_EQ(offered({"rosa", "train", "--set", "run.seed", "=", "tra"}), "[]");
  EXPECT_EQ(offered({"rosa", "completion", "ba"}), "[]") << "a file may stand there, and bash offers these itself";
  EXPECT_THAT(offered({"rosa", ""}), HasSubstr("[verify-run ]"));
  EXPECT_THAT(offered({"rosa", "eval", "--"}), HasSubstr("[--suite ]"));
}

TEST(ManPage, HasEverySubcommandAndOnlyMacrosOfMan) {
  const std::string page = testing::run_rosa({"man"}).output;
  for (const char* part :
       {".TH ROSA 1", ".SS rosa train", ".SS rosa checkpoint average", "\\-\\-dry\\-run", "KEY=VALUE"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  std::istringstream lines(page);
  const std::set<std::string> macros = {".TH", ".SH", ".SS", ".TP", ".B", ".I", ".PP", ".nf", ".fi"};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('.')) {
      EXPECT_TRUE(macros.contains(line.substr(0, line.find(' ')))) << line;
    }
    EXPECT_FALSE(line.starts_with('\'')) << line;
  }
}

}  // namespace
}  // namespace rosa
