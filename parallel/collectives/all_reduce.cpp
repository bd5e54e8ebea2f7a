#include "parallel/communicator.h"

namespace rosa::parallel {

std::unique_ptr<Work> Communicator::all_reduce_impl(const at::Tensor& tensor, Reduction reduction, bool async) {
  check_tensor("all_reduce", tensor);
  check_reducible("all_reduce", tensor);
  const CollectiveCall call = {
      .operation = "all_reduce", .dtype = tensor.scalar_type(), .count = tensor.numel(), .reduction = reduction};
  return run(call, [&]() -> std::unique_ptr<Work> {
    if (tensor.numel() == 0) return std::make_unique<CompleteWork>();
    return start_all_reduce(tensor.detach(), reduction, async);
  });
}

void Communicator::all_reduce(const at::Tensor& tensor, Reduction reduction) {
  all_reduce_impl(tensor, reduction, false)->wait();
}

std::unique_ptr<Work> Communicator::all_reduce_async(const at::Tensor& tensor, Reduction reduction) {
  return all_reduce_impl(tensor, reduction, true);
}

}  // namespace rosa::parallel
