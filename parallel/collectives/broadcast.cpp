#include "parallel/communicator.h"

namespace rosa::parallel {

std::unique_ptr<Work> Communicator::broadcast_impl(const at::Tensor& tensor, int root, bool async) {
  check_tensor("broadcast", tensor);
  check_root("broadcast", root);
  const CollectiveCall call = {
      .operation = "broadcast", .dtype = tensor.scalar_type(), .count = tensor.numel(), .root = root};
  return run(call, [&]() -> std::unique_ptr<Work> {
    if (tensor.numel() == 0) return std::make_unique<CompleteWork>();
    return start_broadcast(tensor.detach(), root, async);
  });
}

void Communicator::broadcast(const at::Tensor& tensor, int root) { broadcast_impl(tensor, root, false)->wait(); }

std::unique_ptr<Work> Communicator::broadcast_async(const at::Tensor& tensor, int root) {
  return broadcast_impl(tensor, root, true);
}

}  // namespace rosa::parallel
