#include "parallel/communicator.h"

namespace rosa::parallel {

using base::require;

std::unique_ptr<Work> Communicator::reduce_scatter_impl(const at::Tensor& send, const at::Tensor& receive,
                                                        Reduction reduction, bool async) {
  check_tensor("reduce_scatter", send);
  check_tensor("reduce_scatter", receive);
  check_reducible("reduce_scatter", send);
  require(receive.scalar_type() == send.scalar_type() && receive.device() == send.device() &&
              receive.numel() * world_size() == send.numel(),
          "reduce_scatter on ", who(), ": got ", send.numel(), " elements of ", c10::toString(send.scalar_type()),
          " into ", receive.numel(), " of ", c10::toString(receive.scalar_type()), ", expected the same dtype and ",
          world_size(), " times as many");
  const CollectiveCall call = {
      .operation = "reduce_scatter", .dtype = send.scalar_type(), .count = send.numel(), .reduction = reduction};
  return run(call, [&]() -> std::unique_ptr<Work> {
    if (send.numel() == 0) return std::make_unique<CompleteWork>();
    return start_reduce_scatter(send.detach(), receive.detach(), reduction, async);
  });
}

at::Tensor Communicator::reduce_scatter(const at::Tensor& tensor, Reduction reduction) {
  check_tensor("reduce_scatter", tensor);
  require(tensor.dim() >= 1 && tensor.size(0) % world_size() == 0, "reduce_scatter on ", who(),
          ": got a tensor of sizes ", tensor.sizes(), ", expected a first dimension that ", world_size(), " divides");
  std::vector<int64_t> sizes = tensor.sizes().vec();
  sizes[0] /= world_size();
  at::Tensor receive = at::empty(sizes, tensor.options().requires_grad(false));
  reduce_scatter_impl(tensor, receive, reduction, false)->wait();
  return receive;
}

std::unique_ptr<Work> Communicator::reduce_scatter_async(const at::Tensor& send, const at::Tensor& receive,
                                                         Reduction reduction) {
  return reduce_scatter_impl(send, receive, reduction, true);
}

}  // namespace rosa::parallel
