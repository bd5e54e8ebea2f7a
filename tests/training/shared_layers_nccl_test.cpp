// Base weights that ranks share out over NCCL, over the made-up NCCL and CUDA runtime (tests/support/fake_gpu): each
// rank keeps its part on its device, and a forward and backward there have the bits of a model that is whole.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>
#include <torch/csrc/autograd/autograd.h>

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

// What the model gives, and the gradient of what it begins with.
std::vector<at::Tensor> forward_and_backward(const models::CausalModel& model, const at::Device& device,
                                             bool checkpointing) {
  at::Tensor first;
  models::ForwardOptions options;
  options.activation_checkpointing = checkpointing;
  options.replace_layer_input = [&](int64_t layer, const at::Tensor& hidden) {
    if (layer == 0) first = hidden.detach().requires_grad_();
    return layer == 0 ? first : hidden;
  };
  const at::Tensor hidden = model.hidden_states((at::arange(14) % 9).view({2, 7}).to(device), options);
  const at::Tensor sum = (hidden * hidden).sum();
  const auto gradients = torch::autograd::grad({sum}, {first});
  return {hidden.detach().cpu(), gradients.front().cpu()};
}

TEST(SharedLayersOverNccl, AForwardAndBackwardHaveTheBitsOfAWholeModel) {
  at::set_num_threads(1);
  const auto bootstrap = parallel::make_mpi_communicator();
  const at::Device device = fake_gpu::device(1 + bootstrap->rank());
  fake_gpu::take_history();
  {
    const auto communicator = parallel::make_nccl_communicator(*bootstrap, device);
    const std::filesystem::path folder = std::filesystem::path(ROSA_TEST_DATA) / "goldens" / "qwen3_tied";
    models::CausalModel whole = models::CausalModel::load(folder);
    whole.move_to(device);
    models::CausalModel model = models::CausalModel::load(folder, "float32", models::WeightStorage::mapped);
    const auto shared = share_layers(model, *communicator, "all", "base model", device);
    ASSERT_NE(shared, nullptr);
    model.move_to(device);
    for (const bool checkpointing : {false, true}) {
      const auto expected = forward_and_backward(whole, device, checkpointing);
      for (int repeat = 0; repeat < 2; ++repeat) {
        const auto found = forward_and_backward(model, device, checkpointing);
        EXPECT_TRUE(at::equal(found[0], expected[0]));
        EXPECT_TRUE(at::equal(found[1], expected[1]));
      }
    }
    int64_t num_sends = 0;
    for (const std::string& call : fake_gpu::take_history()) num_sends += call.rfind("ncclSend", 0) == 0 ? 1 : 0;
    EXPECT_GT(num_sends, 0) << "the layers did not come over NCCL";
    bootstrap->barrier();
  }
  bootstrap->barrier();
  EXPECT_THAT(fake_gpu::take_violations(), ::testing::IsEmpty());
  EXPECT_EQ(fake_gpu::num_living_communicators(), 0);
}

}  // namespace
}  // namespace rosa::training
