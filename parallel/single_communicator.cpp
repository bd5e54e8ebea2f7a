#include "parallel/single_communicator.h"

#include <cstdio>
#include <cstdlib>

#include "base/printable.h"

namespace rosa::parallel {
namespace {

class SingleCommunicator final : public Communicator {
 public:
  explicit SingleCommunicator(std::shared_ptr<const RankGroup> group = std::make_shared<RankGroup>())
      : Communicator(RankPlace{}, std::move(group)) {}

  std::string backend_name() const override { return "one rank"; }

  [[noreturn]] void abort(int exit_code, const std::string& message) override {
    std::fprintf(stderr, "%s\n", base::printable(message).c_str());
    std::fflush(nullptr);
    std::_Exit(exit_code);
  }

 protected:
  std::unique_ptr<Work> start_all_reduce(const at::Tensor&, Reduction, bool) override { return complete(); }
  std::unique_ptr<Work> start_broadcast(const at::Tensor&, int, bool) override { return complete(); }
  std::unique_ptr<Work> start_all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                         bool) override {
    copy(send, receives[0]);
    return complete();
  }
  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& send, const at::Tensor& receive, Reduction,
                                             bool) override {
    copy(send, receive);
    return complete();
  }
  std::unique_ptr<Work> start_all_to_all(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives,
                                         bool) override {
    copy(sends[0], receives[0]);
    return complete();
  }
  std::unique_ptr<Work> start_barrier() override { return complete(); }
  std::unique_ptr<Communicator> make_group(const std::shared_ptr<const RankGroup>& group,
                                           const std::vector<int>&) override {
    return std::make_unique<SingleCommunicator>(group);
  }
  bool serves(const at::Device&) const override { return true; }

 private:
  static void copy(const at::Tensor& from, const at::Tensor& to) { to.view({-1}).copy_(from.view({-1})); }
  static std::unique_ptr<Work> complete() { return std::make_unique<CompleteWork>(); }
};

}  // namespace

std::unique_ptr<Communicator> make_single_communicator() { return std::make_unique<SingleCommunicator>(); }

}  // namespace rosa::parallel
