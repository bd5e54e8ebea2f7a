#include "parallel/communicator.h"
#include "parallel/tensor_list.h"

namespace rosa::parallel {

using base::require;

std::unique_ptr<Work> Communicator::all_to_all_impl(const std::vector<at::Tensor>& sends,
                                                    const std::vector<at::Tensor>& receives, bool async) {
  require(!sends.empty(), "all_to_all on ", who(), ": got no tensors to send");
  check_tensor("all_to_all", sends.front());
  check_list("all_to_all", "send", sends, sends.front());
  check_list("all_to_all", "receive", receives, sends.front());
  const size_t self = static_cast<size_t>(rank());
  require(receives[self].numel() == sends[self].numel(), "all_to_all on ", who(), ": sends ", sends[self].numel(),
          " elements to itself, but expects ", receives[self].numel());
  const CollectiveCall call = {.operation = "all_to_all",
                               .dtype = sends.front().scalar_type(),
                               .send_counts = counts(sends),
                               .receive_counts = counts(receives)};
  return run(call, [&] { return start_all_to_all(detached(sends), detached(receives), async); });
}

void Communicator::all_to_all(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives) {
  all_to_all_impl(sends, receives, false)->wait();
}

std::unique_ptr<Work> Communicator::all_to_all_async(const std::vector<at::Tensor>& sends,
                                                     const std::vector<at::Tensor>& receives) {
  return all_to_all_impl(sends, receives, true);
}

}  // namespace rosa::parallel
