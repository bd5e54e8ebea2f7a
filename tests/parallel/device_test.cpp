#include "parallel/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "parallel/nccl_communicator.h"
#include "parallel/single_communicator.h"
#include "parallel/thread_communicator.h"

namespace rosa::parallel {
namespace {

using testing::HasSubstr;

// A host with `num_devices` GPUs, or one whose launcher shows each process another GPU as number 0.
DeviceSystem fake_system(int num_devices, const std::string& prefix = "host GPU-") {
  return {.has_cuda = true,
          .num_devices = num_devices,
          .identity = [prefix](int index) { return prefix + std::to_string(index); },
          .make_current = [](int) {},
          .description = [](int) { return std::string("fake"); }};
}

template <class Error>
void expect_error(int num_ranks, const std::string& part, const std::function<void(Communicator&)>& body) {
  std::atomic<int> num_thrown = 0;
  run_on_thread_ranks(num_ranks, [&](Communicator& communicator) {
    try {
      body(communicator);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(part));
      ++num_thrown;
    }
  });
  EXPECT_EQ(num_thrown, num_ranks) << "every rank must see the error, or the others wait for it";
}

TEST(SelectDevice, CpuNeedsNothing) {
  EXPECT_EQ(select_device("cpu", *make_single_communicator()), at::Device(at::kCPU));
  run_on_thread_ranks(2, [](Communicator& communicator) {
    EXPECT_EQ(select_device("auto", communicator, {}), at::Device(at::kCPU));
    EXPECT_EQ(select_device("auto", communicator, fake_system(0)), at::Device(at::kCPU));
  });
}

TEST(SelectDevice, LocalRankPicksTheGpu) {
  run_on_thread_ranks(3, [](Communicator& communicator) {
    for (const char* choice : {"auto", "cuda"}) {
      EXPECT_EQ(select_device(choice, communicator, fake_system(4)),
                at::Device(at::kCUDA, static_cast<at::DeviceIndex>(communicator.local_rank())));
    }
  });
}

TEST(SelectDevice, LauncherMayShowEachRankItsOwnGpu) {
  run_on_thread_ranks(3, [](Communicator& communicator) {
    const DeviceSystem system = fake_system(1, "host GPU-" + std::to_string(communicator.rank()) + "-");
    EXPECT_EQ(select_device("cuda", communicator, system), at::Device(at::kCUDA, 0));
  });
}

TEST(SelectDevice, RefusesTwoRanksOnOneGpu) {
  expect_error<base::ConfigError>(3, "ranks 0 and 2 would share one GPU", [](Communicator& communicator) {
    select_device("auto", communicator, fake_system(2));
  });
}

TEST(SelectDevice, NamesRanksWithoutGpu) {
  expect_error<base::ConfigError>(3, "no GPU is visible to rank 1", [](Communicator& communicator) {
    select_device("auto", communicator, fake_system(communicator.rank() == 1 ? 0 : 3));
  });
}

TEST(SelectDevice, NamesBadChoicesAndBuilds) {
  expect_error<base::ConfigError>(1, "expected auto, cpu or cuda",
                                  [](Communicator& communicator) { select_device("gpu", communicator); });
  expect_error<base::ConfigError>(1, "this build has no CUDA",
                                  [](Communicator& communicator) { select_device("cuda", communicator, {}); });
}

TEST(DeviceCommunicator, IsTheBootstrapOnTheCpu) {
  run_on_thread_ranks(
      2, [](Communicator& communicator) { EXPECT_EQ(make_device_communicator(communicator, at::kCPU), nullptr); });
  EXPECT_EQ(make_device_communicator(*make_single_communicator(), at::Device(at::kCUDA, 0)), nullptr);
}

TEST(NcclCommunicator, SaysWhatIsMissing) {
  const DeviceSystem system = find_device_system();
  if (system.num_devices > 0) GTEST_SKIP() << "a GPU is there";
  try {
    make_nccl_communicator(*make_single_communicator(), at::Device(at::kCUDA, 0));
    FAIL() << "expected an error";
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr(system.has_cuda ? "no GPU" : "this build has no NCCL"));
  }
  EXPECT_EQ(nccl_version() == "none", !system.has_cuda);
}

}  // namespace
}  // namespace rosa::parallel
