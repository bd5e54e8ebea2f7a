#include "parallel/communicator.h"
#include "parallel/tensor_list.h"

namespace rosa::parallel {

using base::require;

std::unique_ptr<Work> Communicator::all_gather_impl(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                                    bool async) {
  check_tensor("all_gather", send);
  check_list("all_gather", "receive", receives, send);
  require(receives[static_cast<size_t>(rank())].numel() == send.numel(), "all_gather on ", who(), ": sends ",
          send.numel(), " elements, but expects ", receives[static_cast<size_t>(rank())].numel(), " from itself");
  const CollectiveCall call = {.operation = "all_gather",
                               .dtype = send.scalar_type(),
                               .send_counts = std::vector<int64_t>(static_cast<size_t>(world_size()), send.numel()),
                               .receive_counts = counts(receives)};
  return run(call, [&] { return start_all_gather(send.detach(), detached(receives), async); });
}

void Communicator::all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives) {
  all_gather_impl(send, receives, false)->wait();
}

std::vector<at::Tensor> Communicator::all_gather(const at::Tensor& tensor) {
  check_tensor("all_gather", tensor);
  std::vector<at::Tensor> receives;
  for (int other = 0; other < world_size(); ++other) {
    receives.push_back(at::empty(tensor.sizes(), tensor.options().requires_grad(false)));
  }
  all_gather(tensor, receives);
  return receives;
}

std::unique_ptr<Work> Communicator::all_gather_async(const at::Tensor& send, const std::vector<at::Tensor>& receives) {
  return all_gather_impl(send, receives, true);
}

}  // namespace rosa::parallel
