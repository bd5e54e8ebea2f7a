// What steps say of the device: FLOPs by the count of the model, their share of a stated peak, memory by its allocator.
#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <gtest/gtest.h>

#include "parallel/thread_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/device_memory.h"
#include "training/plan/flops.h"

namespace rosa::training {
namespace {

class StepRecorder : public Recorder {
 public:
  void on_step(const StepMetrics& metrics) override {
    Recorder::on_step(metrics);
    last = metrics;
  }
  StepMetrics last;
};

TEST(StepFigures, FlopsAreThoseOfTheModelAndTheirUseIsOfAllRanks) {
  const testing::TemporaryFolder folder;
  RunConfig config = tiny_config(folder / "run");
  config.train.num_steps = 1;
  config.evaluation.every = 0;
  config.logging.peak_tflops = 0.5;
  StepRecorder recorder;
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    at::set_num_threads(1);
    Recorder other;
    Recorder& own = communicator.rank() == 0 ? recorder : other;
    EXPECT_EQ(train(config, own, 0, &communicator), RunOutcome::finished);
  });
  const models::ModelConfig model = models::load_model_config(config.model.folder);
  const models::AdapterConfig adapter = models::resolve(config.adapter, model);
  FlopsInput input{.model = model,
                   .adapter = &adapter,
                   .sequence_length = 24,
                   .sliding_window = 6,
                   .teacher = &model,
                   .trained = {}};
  for (const auto& [name, shape] : models::adapter_parameter_shapes(adapter, model)) input.trained.insert(name);
  const StepMetrics& step = recorder.last;
  EXPECT_GT(step.model_tflops, 0.0);
  EXPECT_DOUBLE_EQ(step.model_tflops, 24 * 12 * token_flops(input).total() / 1e12);
  EXPECT_DOUBLE_EQ(step.tflops_per_second, step.model_tflops / (step.step_ms / 1000));
  ASSERT_TRUE(step.flop_use.has_value());
  EXPECT_DOUBLE_EQ(*step.flop_use, step.tflops_per_second / (2 * 0.5));
  EXPECT_FALSE(step.device_peak_bytes.has_value()) << "there is no device";

  config.run.folder = (folder / "no_peak").string();
  config.logging.peak_tflops = 0;
  ASSERT_EQ(train(config, recorder), RunOutcome::finished);
  EXPECT_FALSE(recorder.last.flop_use.has_value());
}

// An allocator that counts as those of devices do.
class CountingAllocator final : public c10::DeviceAllocator {
 public:
  at::DataPtr allocate(size_t) override { return {}; }
  void copy_data(void* to, const void* from, size_t size) const override { default_copy_data(to, from, size); }
  bool initialized() override { return is_initialized; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const at::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    c10::CachingDeviceAllocator::DeviceStats statistics;
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    statistics.allocated_bytes[kAll].current = 100 + device;
    statistics.allocated_bytes[kAll].peak = 300;
    statistics.reserved_bytes[kAll].current = 400;
    return statistics;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}

  bool is_initialized = false;
};

TEST(DeviceMemory, IsWhatTheAllocatorOfTheDeviceCounts) {
  EXPECT_FALSE(device_memory(at::kCPU).has_value());
  const at::Device device(at::kPrivateUse1, 2);
  static CountingAllocator allocator;
  c10::SetAllocator(at::kPrivateUse1, &allocator);
  EXPECT_FALSE(device_memory(device).has_value()) << "nothing was allocated yet";
  allocator.is_initialized = true;
  const auto memory = device_memory(device);
  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(memory->allocated, 102);
  EXPECT_EQ(memory->reserved, 400);
  EXPECT_EQ(memory->peak, 300);
}

}  // namespace
}  // namespace rosa::training
