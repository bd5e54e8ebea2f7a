#include "base/process_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>

#include "base/mapped_file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

TEST(ProcessMemory, IsWhatTheKernelTells) {
  const rosa::testing::TemporaryFolder folder;
  EXPECT_FALSE(read_process_memory(folder.path()).has_value());
  std::filesystem::create_directories(folder / "proc/self");
  std::ofstream(folder / "proc/self/smaps_rollup") << "55e0-7fff ---p 00000000 00:00 0   [rollup]\nRss:   2048 kB\n"
                                                      "Pss:     24 kB\nPss_Anon: 9 kB\n";
  const auto memory = read_process_memory(folder.path());
  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(memory->resident_bytes, 2048 * 1024);
  EXPECT_EQ(memory->proportional_bytes, 24 * 1024);
}

// Sanitizers keep memory of their own beside every byte that is read.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Two mappings of a file are resident twice and count once; what is released is read again.
TEST(ProcessMemory, SharedPagesCountOnce) {
  if (!read_process_memory()) GTEST_SKIP() << "this kernel does not tell";
  constexpr int64_t kBytes = int64_t{16} << 20, kSlack = kBytes / 4;
  const rosa::testing::TemporaryFolder folder;
  std::ofstream(folder / "x") << std::string(kBytes, 'a');
  const MappedFile one(folder / "x"), two(folder / "x");
  const auto sum = [](const MappedFile& file) {
    return std::accumulate(file.bytes().begin(), file.bytes().end(), int64_t{0},
                           [](int64_t so_far, std::byte byte) { return so_far + std::to_integer<int64_t>(byte); });
  };
  const auto before = read_process_memory();
  ASSERT_EQ(sum(one), kBytes * 'a');
  ASSERT_EQ(sum(two), kBytes * 'a');
  const auto both = read_process_memory();
  EXPECT_NEAR(both->resident_bytes - before->resident_bytes, 2 * kBytes, kSlack);
  EXPECT_NEAR(both->proportional_bytes - before->proportional_bytes, kBytes, kSlack);
  two.release(two.bytes());
  EXPECT_NEAR(read_process_memory()->resident_bytes - before->resident_bytes, kBytes, kSlack);
  EXPECT_EQ(sum(two), kBytes * 'a');
}
#endif

}  // namespace
}  // namespace rosa::base
