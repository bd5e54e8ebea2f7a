// Exit codes, and what is read off the machine.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "base/error.h"
#include "base/host_name.h"
#include "launch/exit_code.h"
#include "launch/host_facts.h"
#include "launch/process.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;

TEST(ExitCode, EachErrorHasItsOwn) {
  EXPECT_EQ(exit_code_of(base::ConfigError("")), 2);
  EXPECT_EQ(exit_code_of(base::DataError("")), 3);
  EXPECT_EQ(exit_code_of(base::CheckpointError("")), 4);
  EXPECT_EQ(exit_code_of(base::CommunicationError("")), 5);
  EXPECT_EQ(exit_code_of(base::NumericError("")), 6);
  EXPECT_EQ(exit_code_of(base::FileError("")), 7);
  EXPECT_EQ(exit_code_of(base::ArgumentError("")), 1);
  EXPECT_EQ(exit_code_of(std::runtime_error("")), 1);
}

class HostFactsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) / "host_facts";
    fs::remove_all(root_);
  }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  fs::path root_;
};

TEST_F(HostFactsTest, ReadsMemoryProcessorAndTheTightestCgroupLimit) {
  write("proc/meminfo", "MemTotal:       1024 kB\nMemFree:  5 kB\nMemAvailable:   512 kB\n");
  write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: fpu avx2 amx_bf16\n");
  write("etc/os-release", "PRETTY_NAME=\"Some Linux 1\"\n");
  write("proc/self/cgroup", "0::/job/step\n");
  write("sys/fs/cgroup/job/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/job/step/memory.max", "max\n");
  write("sys/fs/cgroup/job/memory.max", "4096\n");
  write("sys/fs/cgroup/memory.max", "8192\n");
  const HostFacts facts = read_host_facts(root_);
  EXPECT_EQ(facts.memory_bytes, 1024 * 1024);
  EXPECT_EQ(facts.available_memory_bytes, 512 * 1024);
  EXPECT_EQ(facts.cpu, "Some CPU @ 3 GHz");
  EXPECT_EQ(facts.cpu_flags, (std::set<std::string>{"amx_bf16", "avx2", "fpu"}));
  EXPECT_TRUE(facts.system.starts_with("Some Linux 1, Linux")) << facts.system;
  EXPECT_DOUBLE_EQ(facts.cgroup_cores, 1.5);
  EXPECT_EQ(facts.cgroup_memory_bytes, 4096);
  EXPECT_EQ(usable_cores(facts), 1);
}

TEST_F(HostFactsTest, WhatIsMissingIsZeroNotAnError) {
  const HostFacts facts = read_host_facts(root_);
  EXPECT_EQ(facts.memory_bytes, 0);
  EXPECT_EQ(facts.cgroup_cores, 0);
  EXPECT_EQ(facts.cgroup_memory_bytes, 0);
  EXPECT_FALSE(facts.cores.empty());
  EXPECT_GE(usable_cores(facts), 1);
}

TEST(HostFacts, Texts) {
  EXPECT_EQ(core_list_text({0, 1, 2, 3, 8}), "0-3,8");
  EXPECT_EQ(core_list_text({5}), "5");
  EXPECT_EQ(core_list_text({}), "");
  EXPECT_EQ(bytes_text(int64_t{3} << 29), "1.5 GiB");
  EXPECT_EQ(bytes_text(int64_t{5} << 20), "5 MiB");
}

TEST(HostFacts, LimitsAreThoseOfTheProcess) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit lower = before;
  lower.rlim_cur = 97;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  EXPECT_EQ(read_process_limits().open_files, 97);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

// Every interface is a name and an address; a host without any has none.
TEST(HostFacts, InterfacesHaveNamesAndAddresses) {
  for (const std::string& interface : read_network_facts().interfaces) {
    const std::size_t space = interface.find(' ');
    ASSERT_NE(space, std::string::npos) << interface;
    in_addr address{};
    EXPECT_EQ(inet_pton(AF_INET, interface.c_str() + space + 1, &address), 1) << interface;
    EXPECT_FALSE(interface.substr(space + 1).starts_with("127.")) << interface;
  }
}

TEST(Process, TheRankIsTheLaunchers) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) unsetenv(name);
  EXPECT_EQ(rank_of_process(), 0);
  setenv("PMIX_RANK", "3", 1);
  EXPECT_EQ(rank_of_process(), 3);
  unsetenv("PMIX_RANK");
  EXPECT_FALSE(base::host_name().empty());
}

TEST(Process, StopSignalsAreAskedForNotObeyed) {
  listen_for_stop_signals();
  EXPECT_FALSE(stop_requested());
  raise(SIGUSR1);
  EXPECT_TRUE(stop_requested());
  raise(SIGUSR1);
  raise(SIGTERM);
  EXPECT_TRUE(stop_requested());
}

}  // namespace
}  // namespace rosa::launch
