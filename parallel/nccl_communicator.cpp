// The form of builds with NCCL.
#include "parallel/nccl_communicator.h"

#include <cstdlib>
#include <cstring>
#include <exception>

#include "parallel/device.h"
#include "parallel/nccl_group.h"
#include "parallel/replicas.h"
#include "parallel/tensor_list.h"

namespace rosa::parallel {
namespace {

using base::CommunicationError;
using base::concat;
using base::require;

ncclDataType_t nccl_type(at::ScalarType type) {
  if (type == at::kFloat) return ncclFloat32;
  if (type == at::kDouble) return ncclFloat64;
  if (type == at::kBFloat16) return ncclBfloat16;
  if (type == at::kInt) return ncclInt32;
  if (type == at::kLong) return ncclInt64;
  return ncclUint8;  // the interface lets no other type through
}

ncclRedOp_t nccl_operation(Reduction reduction) {
  if (reduction == Reduction::max) return ncclMax;
  if (reduction == Reduction::min) return ncclMin;
  return ncclSum;
}

std::string version_text(int code) { return concat(code / 10000, ".", code / 100 % 100, ".", code % 100); }

size_t num_bytes(const at::Tensor& tensor) { return static_cast<size_t>(tensor.numel() * tensor.element_size()); }

// A collective on the group's stream, between two events.
class NcclWork final : public Work {
 public:
  // Lets the group's stream wait for what the current stream holds now.
  NcclWork(std::shared_ptr<NcclGroup> group, const char* call, std::vector<at::Tensor> tensors)
      : group_(std::move(group)), call_(call), tensors_(std::move(tensors)), done_event_(group_->device().type()) {
    group_->on_device(call_, [&] {
      c10::Event ready(group_->device().type());
      ready.record(group_->current_stream());
      ready.block(group_->stream());
    });
  }

  ~NcclWork() override {
    if (!is_done_) new std::vector<at::Tensor>(std::move(tensors_));  // leaked: NCCL may still write to them
  }

  // Called once, after NCCL has taken the collective.
  void launched() {
    group_->on_device(call_, [&] { done_event_.record(group_->stream()); });
    is_launched_ = true;
  }

 protected:
  bool poll() override {
    if (is_done_) return true;
    const bool is_over = is_launched_ && group_->on_device(call_, [&] { return done_event_.query(); });
    group_->check(call_);  // also when it is over: a collective that fails ends too
    if (!is_over) return false;
    is_done_ = true;
    tensors_.clear();
    return true;
  }

  bool wait_until(Clock::time_point deadline) override {
    return poll_until(deadline, std::chrono::microseconds(1000), [this] { return poll(); });
  }

  void give_up() override { group_->abort(); }

 private:
  std::shared_ptr<NcclGroup> group_;
  const char* call_;
  std::vector<at::Tensor> tensors_;
  c10::Event done_event_;
  bool is_launched_ = false;
  bool is_done_ = false;
};

// The unique id of rank 0, on every rank; an error on rank 0 is thrown everywhere.
ncclUniqueId share_unique_id(Communicator& bootstrap) {
  ncclUniqueId id = {};
  std::string error;
  if (bootstrap.rank() == 0) {
    const ncclResult_t result = ncclGetUniqueId(&id);
    if (result != ncclSuccess) error = concat("ncclGetUniqueId failed on rank 0: ", ncclGetErrorString(result));
  }
  error = bootstrap.broadcast_text(error, 0);
  require<CommunicationError>(error.empty(), error);
  const std::string bytes = bootstrap.broadcast_text(std::string(id.internal, sizeof(id.internal)), 0);
  std::memcpy(id.internal, bytes.data(), sizeof(id.internal));
  return id;
}

RankPlace place_of(const Communicator& communicator) {
  return {communicator.rank(), communicator.world_size(), communicator.local_rank(), communicator.local_size(),
          communicator.local_leader()};
}

class NcclCommunicator final : public Communicator {
 public:
  // Joins the ranks of `bootstrap`; `own_bootstrap` is what it refers to, where nobody else keeps it.
  // Collective: every rank calls it.
  static std::unique_ptr<Communicator> make(Communicator& bootstrap, std::unique_ptr<Communicator> own_bootstrap,
                                            at::Device device) {
    auto group = std::make_shared<NcclGroup>(share_unique_id(bootstrap), place_of(bootstrap), bootstrap.who(), device,
                                             bootstrap.timeout_seconds());
    auto communicator = std::make_unique<NcclCommunicator>(bootstrap, std::move(own_bootstrap), std::move(group));
    communicator->set_timeout(bootstrap.timeout_seconds());
    communicator->set_debug_mode(bootstrap.debug_mode());
    return communicator;
  }

  NcclCommunicator(Communicator& bootstrap, std::unique_ptr<Communicator> own_bootstrap,
                   std::shared_ptr<NcclGroup> group)
      : Communicator(place_of(bootstrap), std::make_shared<RankGroup>(bootstrap.group())),
        own_bootstrap_(std::move(own_bootstrap)),
        bootstrap_(bootstrap),
        nccl_(std::move(group)),
        exceptions_at_start_(std::uncaught_exceptions()) {}

  ~NcclCommunicator() override {
    // Closing waits for the other ranks: not while unwinding.
    if (std::uncaught_exceptions() > exceptions_at_start_) {
      nccl_->abort();
    } else {
      nccl_->close(timeout_seconds());
    }
  }

  std::string backend_name() const override { return "NCCL"; }
  at::Device device() const override { return nccl_->device(); }

  std::shared_ptr<c10::Event> mark_time(bool behind_current) override {
    return nccl_->on_device("mark_time", [&] {
      const at::DeviceType type = nccl_->device().type();
      if (behind_current) {
        c10::Event ready(type);
        ready.record(nccl_->current_stream());
        ready.block(nccl_->stream());
      }
      auto mark = std::make_shared<c10::Event>(type, c10::EventFlag::BACKEND_DEFAULT);
      mark->record(nccl_->stream());
      return mark;
    });
  }

  [[noreturn]] void abort(int exit_code, const std::string& message) override {
    // Not ncclCommAbort first: it may wait, and the end of the processes frees the GPUs anyway.
    bootstrap_.abort(exit_code, message);
    std::abort();  // not reached; g++ does not see that a virtual function never returns
  }

 protected:
  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction, bool async) override {
    if (tensor.is_cpu()) return finished(bootstrap_.all_reduce_async(tensor, reduction), async);
    return launch("ncclAllReduce", {tensor}, [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), static_cast<size_t>(tensor.numel()),
                           nccl_type(tensor.scalar_type()), nccl_operation(reduction), comm, stream);
    });
  }

  std::unique_ptr<Work> start_broadcast(const at::Tensor& tensor, int root, bool async) override {
    if (tensor.is_cpu()) return finished(bootstrap_.broadcast_async(tensor, root), async);
    return launch("ncclBroadcast", {tensor}, [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), num_bytes(tensor), ncclUint8, root, comm, stream);
    });
  }

  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& send, const at::Tensor& receive, Reduction reduction,
                                             bool async) override {
    if (send.is_cpu()) return finished(bootstrap_.reduce_scatter_async(send, receive, reduction), async);
    return launch("ncclReduceScatter", {send, receive}, [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclReduceScatter(send.data_ptr(), receive.data_ptr(), static_cast<size_t>(receive.numel()),
                               nccl_type(send.scalar_type()), nccl_operation(reduction), comm, stream);
    });
  }

  std::unique_ptr<Work> start_all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                         bool async) override {
    if (send.is_cpu()) return finished(bootstrap_.all_gather_async(send, receives), async);
    return exchange("all_gather by ncclSend and ncclRecv",
                    std::vector<at::Tensor>(static_cast<size_t>(world_size()), send), receives);
  }

  std::unique_ptr<Work> start_all_to_all(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives,
                                         bool async) override {
    if (sends.front().is_cpu()) return finished(bootstrap_.all_to_all_async(sends, receives), async);
    return exchange("all_to_all by ncclSend and ncclRecv", sends, receives);
  }

  std::unique_ptr<Work> start_barrier() override {
    bootstrap_.barrier();
    return std::make_unique<CompleteWork>();
  }

  std::unique_ptr<Communicator> make_group(const std::shared_ptr<const RankGroup>& group,
                                           const std::vector<int>& members) override {
    const bool is_same = group->name == this->group().name;
    std::unique_ptr<Communicator> own =
        is_same ? bootstrap_.duplicate() : bootstrap_.split(members.front(), index_in(members), group->name);
    Communicator& bootstrap = *own;
    return make(bootstrap, std::move(own), nccl_->device());
  }

  bool serves(const at::Device& device) const override { return device.is_cpu() || device == nccl_->device(); }

 private:
  static std::unique_ptr<Work> finished(std::unique_ptr<Work> work, bool async) {
    if (!async) work->wait();
    return work;
  }

  template <class Call>
  std::unique_ptr<Work> launch(const char* name, std::vector<at::Tensor> tensors, const Call& call) {
    auto work = std::make_unique<NcclWork>(nccl_, name, std::move(tensors));
    nccl_->enqueue(name, timeout_seconds(), call);
    work->launched();
    return work;
  }

  // One group of pairwise messages; sizes may differ from pair to pair.
  std::unique_ptr<Work> exchange(const char* name, const std::vector<at::Tensor>& sends,
                                 const std::vector<at::Tensor>& receives) {
    return launch(name, joined(sends, receives), [&](ncclComm_t comm, cudaStream_t stream) {
      ncclResult_t result = ncclGroupStart();
      if (!is_accepted(result)) return result;
      for (int other = 0; other < world_size() && is_accepted(result); ++other) {
        const at::Tensor& send = sends[static_cast<size_t>(other)];
        const at::Tensor& receive = receives[static_cast<size_t>(other)];
        if (send.numel() > 0) {
          result = ncclSend(send.data_ptr(), num_bytes(send), ncclUint8, other, comm, stream);
        }
        if (receive.numel() > 0 && is_accepted(result)) {
          result = ncclRecv(receive.data_ptr(), num_bytes(receive), ncclUint8, other, comm, stream);
        }
      }
      const ncclResult_t end = ncclGroupEnd();
      return is_accepted(result) ? end : result;
    });
  }

  static bool is_accepted(ncclResult_t result) { return result == ncclSuccess || result == ncclInProgress; }

  const std::unique_ptr<Communicator> own_bootstrap_;
  Communicator& bootstrap_;
  const std::shared_ptr<NcclGroup> nccl_;
  const int exceptions_at_start_;
};

}  // namespace

std::string nccl_version() {
  int code = 0;
  const ncclResult_t result = ncclGetVersion(&code);
  require<CommunicationError>(result == ncclSuccess, "ncclGetVersion failed: ", ncclGetErrorString(result));
  return version_text(code);
}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& bootstrap, at::Device device) {
  require(!device.is_cpu(), "make_nccl_communicator: got device ", device.str(), ", expected a GPU from select_device");
  compare_across_ranks(bootstrap, "NCCL version", nccl_version());
  require<CommunicationError>(nccl_version() == version_text(NCCL_VERSION_CODE), "NCCL ", nccl_version(),
                              " is loaded, but this program was built with the headers of ",
                              version_text(NCCL_VERSION_CODE),
                              "; let LD_LIBRARY_PATH and LD_PRELOAD not name another libnccl.so.2");
  // Again here, since two ranks on one GPU would hang; it also finds machines without a GPU.
  require<base::ConfigError>(!device.is_cuda() || select_device("cuda", bootstrap) == device,
                             "make_nccl_communicator: got device ", device.str(),
                             ", which is not this rank's from select_device");
  return NcclCommunicator::make(bootstrap, nullptr, device);
}

}  // namespace rosa::parallel
