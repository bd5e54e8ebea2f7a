// Base weights that ranks share out over NCCL, over the made-up NCCL and CUDA runtime (tests/support/fake_gpu): each
// rank keeps its part on its device, and a forward and backward there have the bits of a model that is whole.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdlib>
#include <filesystem>

#include "../support/fake_gpu/fake_device.h"
#include "../support/fake_gpu/fake_nccl.h"
#include "models/causal_model.h"
#include "parallel/mpi_communicator.h"
#include "parallel/nccl_communicator.h"
#include "training/shared_layers.h"

namespace rosa::training {
namespace {

// A folder in memory for what the ranks send each other.
class ExchangeFolder final : public ::testing::Environment {
 public:
  void SetUp() override {
    char path[] = "/dev/shm/rosa_fake_nccl_XXXXXX";
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    if (rank_ == 0) {
      ASSERT_NE(mkdtemp(path), nullptr);
    }
    MPI_Bcast(path, sizeof(path), MPI_CHAR, 0, MPI_COMM_WORLD);
    path_ = path;
    fake_gpu::set_exchange_folder(path_);
  }
  void TearDown() override {
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank_ == 0) std::filesystem::remove_all(path_);
  }

 private:
  int rank_ = 0;
  std::string path_;
};

const ::testing::Environment* const kExchangeFolder = ::testing::AddGlobalTestEnvironment(new ExchangeFolder);

TEST(SharedLayersOverNccl, LayersAreWholeOnTheDevice) {
  at::set_num_threads(1);
  const auto bootstrap = parallel::make_mpi_communicator();
  const at::Device device = fake_gpu::device(1 + bootstrap->rank());
  fake_gpu::take_history();
  {
    const auto communicator = parallel::make_nccl_communicator(*bootstrap, device);
    const std::filesystem::path folder = std::filesystem::path(ROSA_TEST_DATA) / "goldens" / "qwen3_tied";
    const models::CausalModel whole = models::CausalModel::load(folder);
    models::CausalModel model = models::CausalModel::load(folder, "float32", models::WeightStorage::mapped);
    const auto shared = share_layers(model, *communicator, "all", "base model", device);
    ASSERT_NE(shared, nullptr);
    for (int step = 0; step < 3; ++step) {
      shared->begin_step();
      for (const int64_t layer : {0, 1, 2, 0, 1, 2, 1, 0}) {
        for (size_t i = 0; i < models::kNumProjections; ++i) {
          const auto projection = static_cast<models::Projection>(i);
          const at::Tensor weight = shared->weight(layer, projection);
          EXPECT_EQ(weight.device(), device);
          EXPECT_TRUE(at::equal(weight.cpu(), *whole.layer_weights(layer)[projection].weight)) << layer << " " << i;
        }
      }
      shared->end_step();
    }
    int64_t num_sends = 0;
    for (const std::string& call : fake_gpu::take_history()) num_sends += call.rfind("ncclSend", 0) == 0 ? 1 : 0;
    EXPECT_GT(num_sends, 0) << "the layers did not come over NCCL";
    bootstrap->barrier();
  }
  bootstrap->barrier();
  EXPECT_THAT(fake_gpu::take_violations(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace rosa::training
