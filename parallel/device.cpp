#include "parallel/device.h"

#include <algorithm>
#include <map>

#include "parallel/nccl_communicator.h"

namespace rosa::parallel {

using base::concat;
using base::ConfigError;
using base::require;

namespace {

// "rank 1, rank 3" of the ranks whose number of devices is zero.
std::string ranks_without_gpu(Communicator& communicator, int num_devices, int& num_without) {
  std::string names;
  const at::Tensor mine = at::full({1}, num_devices, at::kInt);
  int rank = 0;
  num_without = 0;
  for (const at::Tensor& of_rank : communicator.all_gather(mine)) {
    if (of_rank.item<int>() == 0) {
      names += concat(names.empty() ? "" : ", ", "rank ", rank);
      ++num_without;
    }
    ++rank;
  }
  return names;
}

void refuse_shared_gpus(Communicator& communicator, const std::string& identity) {
  std::map<std::string, std::string> ranks_of;
  int rank = 0;
  for (const std::string& other : communicator.all_gather_text(identity)) {
    std::string& ranks = ranks_of[other];
    ranks += concat(ranks.empty() ? "" : " and ", rank++);
  }
  for (const auto& [gpu, ranks] : ranks_of) {
    require<ConfigError>(ranks.find("and") == std::string::npos, "ranks ", ranks, " would share one GPU (", gpu,
                         "): start at most as many ranks on a host as it has GPUs, or set the device to cpu");
  }
}

}  // namespace

at::Device select_device(const std::string& choice, Communicator& communicator, const DeviceSystem& system) {
  require<ConfigError>(choice == "cpu" || choice == "cuda" || choice == "auto", "device: got '", choice,
                       "', expected auto, cpu or cuda");
  if (choice == "cpu") return at::kCPU;
  require<ConfigError>(
      choice == "auto" || system.has_cuda,
      "device: got cuda, but this build has no CUDA; build with ROSA_CUDA=ON or set the device to cpu");
  int num_without = 0;
  const std::string without = ranks_without_gpu(communicator, system.num_devices, num_without);
  if (choice == "auto" && num_without == communicator.world_size()) return at::kCPU;
  require<ConfigError>(num_without == 0, "device: got ", choice, ", but no GPU is visible to ", without,
                       "; look at nvidia-smi and CUDA_VISIBLE_DEVICES there, or set the device to cpu");
  const int index = communicator.local_rank() % system.num_devices;
  refuse_shared_gpus(communicator, system.identity(index));
  system.make_current(index);
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

std::unique_ptr<Communicator> make_device_communicator(Communicator& bootstrap, at::Device device) {
  if (device.is_cpu() || bootstrap.world_size() == 1) return nullptr;
  return make_nccl_communicator(bootstrap, device);
}

}  // namespace rosa::parallel
