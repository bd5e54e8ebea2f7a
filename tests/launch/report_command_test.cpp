// `rosa report` of a run that the program has made: what its files and logs say comes out on the page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

using ::testing::HasSubstr;
using testing::JobResult;
using ::testing::Not;
using testing::rosa_program;
using testing::run_job;
using testing::TinyRun;

TEST(ReportCommand, ShowsWhereARunWentBackAndOn) {
  const testing::TemporaryFolder folder;
  const TinyRun run(folder / "run", 6);
  const JobResult trained = run_job(run.train_command());
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const auto markdown = [&run] { return run_job({rosa_program(), "report", run.folder().string(), "--markdown"}); };
  const JobResult before = markdown();
  ASSERT_EQ(before.exit_code, 0) << before.output;
  EXPECT_THAT(before.output, HasSubstr("run: 6 of 6 steps, 6 of them logged."));
  EXPECT_THAT(before.output, HasSubstr("| Loss |"));
  EXPECT_THAT(before.output, HasSubstr("| layer 0 |"));
  EXPECT_THAT(before.output, Not(HasSubstr("resumed")));

  const JobResult again = run_job(run.train_command({"checkpoint.resume=step_00000004"}));
  ASSERT_EQ(again.exit_code, 0) << again.output;
  const JobResult after = markdown();
  EXPECT_THAT(after.output, HasSubstr("run: 6 of 6 steps, 6 of them logged."));
  EXPECT_THAT(after.output, HasSubstr("| 4 | resumed | resumed from "));
  EXPECT_THAT(after.output, HasSubstr("- Set aside: "));
  // Taken from config.yaml, with where it comes from.
  EXPECT_THAT(after.output, HasSubstr("| checkpoint.resume | step_00000004 | --set |"));
}

TEST(ReportCommand, ShowsAFailure) {
  const testing::TemporaryFolder folder;
  const TinyRun run(folder / "run", 4);
  const JobResult failed = run_job(run.train_command({"checkpoint.resume=" + (folder / "nothing").string()}));
  ASSERT_NE(failed.exit_code, 0);
  const JobResult trained = run_job(run.train_command());
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const JobResult report = run_job({rosa_program(), "report", run.folder().string(), "--markdown"});
  ASSERT_EQ(report.exit_code, 0) << report.output;
  EXPECT_THAT(report.output, HasSubstr("- run failed: "));
}

}  // namespace
}  // namespace rosa
