#include "base/cores.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

class Cgroups : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  double cores() { return read_cgroup_cores(root_.path()); }

  testing::TemporaryFolder root_;
};

TEST_F(Cgroups, Version2TakesTheSmallestQuotaOnTheWayUp) {
  EXPECT_EQ(cores(), 0);
  write("proc/self/cgroup", "0::/job/step\n");
  write("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
  EXPECT_EQ(cores(), 0);
  write("sys/fs/cgroup/job/cpu.max", "250000 100000\n");
  EXPECT_DOUBLE_EQ(cores(), 2.5);
  write("sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_DOUBLE_EQ(cores(), 2.5);
}

TEST_F(Cgroups, Version1HasAQuotaAndAPeriod) {
  write("proc/self/cgroup", "5:memory:/other\n4:cpu,cpuacct:/docker/a\n");
  write("sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores(), 0);
  write("sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_quota_us", "300000\n");
  EXPECT_DOUBLE_EQ(cores(), 3);
  // In a container the own folder is the top one.
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(cores(), 1.5);
}

int share(const CoreLimits& own, const std::vector<CoreLimits>& others) {
  std::vector<std::string> ranks = {to_text(own)};
  for (const CoreLimits& other : others) ranks.push_back(to_text(other));
  return share_of_cores(own, ranks);
}

TEST(ShareOfCores, CoresAreDividedByTheRanksThatMayUseThem) {
  const CoreLimits all{{0, 1, 2, 3, 4, 5, 6, 7}, 0};
  EXPECT_EQ(share(all, {}), 8);
  EXPECT_EQ(share(all, {all, all, all}), 2);
  EXPECT_EQ(share(all, {all, all}), 2);
  EXPECT_EQ(share({{0, 1, 2}, 0}, {{{0, 1, 2}, 0}, {{0, 1, 2}, 0}}), 1);
  // Ranks that are bound to cores of their own share nothing.
  EXPECT_EQ(share({{0, 1, 2, 3}, 0}, {{{4, 5, 6, 7}, 0}}), 4);
  EXPECT_EQ(share({{0}, 0}, {{{0}, 0}, {{0}, 0}}), 1);
}

TEST(ShareOfCores, ACgroupsLimitIsDividedOverTheRanks) {
  const CoreLimits limited{{0, 1, 2, 3, 4, 5, 6, 7}, 5};
  EXPECT_EQ(share(limited, {}), 5);
  EXPECT_EQ(share(limited, {limited}), 2);
  EXPECT_EQ(share({{0, 1}, 5}, {}), 2);
  EXPECT_EQ(share({{0, 1}, 0.5}, {}), 1);
}

TEST(CoreLimits, OfThisProcessAreFound) { EXPECT_FALSE(read_core_limits().cores.empty()); }

}  // namespace
}  // namespace rosa::base
