// The form of builds with NCCL.
#include "parallel/nccl_communicator.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>

#include "parallel/device.h"
#include "parallel/replicas.h"

namespace rosa::parallel {
namespace {

using base::CommunicationError;
using base::concat;
using base::require;

ncclDataType_t nccl_type(at::ScalarType type) {
  if (type == at::kFloat) return ncclFloat32;
  if (type == at::kDouble) return ncclFloat64;
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

void check_cuda(cudaError_t code, const char* call, const std::string& place) {
  require<CommunicationError>(code == cudaSuccess, call, " failed on ", place, ": ", cudaGetErrorString(code),
                              " (code ", static_cast<int>(code), ")");
}

// Sleeps a little longer each time it is called, up to 1 ms; throws when the deadline has passed.
class Deadline {
 public:
  explicit Deadline(double seconds)
      : end_(Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))) {}

  // False when the time is over.
  bool pause() {
    if (Clock::now() > end_) return false;
    if (num_pauses_++ < 200) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(std::min(num_pauses_, 1000)));
    }
    return true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point end_;
  int num_pauses_ = 0;
};

// The NCCL communicator, non-blocking, and its stream. Every call is followed by polling until NCCL has taken it; the
// first error aborts the communicator, so that the other ranks' collectives end too.
class NcclGroup {
 public:
  NcclGroup(const ncclUniqueId& id, const RankPlace& place, at::Device device, double timeout_seconds)
      : place_(concat("rank ", place.rank, " of ", place.world_size)),
        device_(device),
        timeout_seconds_(timeout_seconds),
        exceptions_at_start_(std::uncaught_exceptions()),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())) {
    const c10::cuda::CUDAGuard guard(device_);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    take(ncclCommInitRankConfig(&comm_, place.world_size, id, place.rank, &config), "ncclCommInitRankConfig");
  }

  ~NcclGroup() {
    if (comm_ == nullptr) return;
    const c10::cuda::CUDAGuard guard(device_);
    // A finalisation waits for the other ranks: not while unwinding.
    if (std::uncaught_exceptions() > exceptions_at_start_) {
      abort();
      return;
    }
    ncclResult_t state = ncclCommFinalize(comm_);
    Deadline deadline(timeout_seconds_);
    while (state == ncclInProgress && deadline.pause()) {
      if (ncclCommGetAsyncError(comm_, &state) != ncclSuccess) break;
    }
    if (state == ncclSuccess) {
      ncclCommDestroy(comm_);
    } else {
      abort();
    }
  }

  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  ncclComm_t comm() const { return comm_; }
  cudaStream_t stream() const { return stream_.stream(); }
  at::Device device() const { return device_; }
  const std::string& place() const { return place_; }
  double timeout_seconds() const { return timeout_seconds_; }

  void check_alive(const char* call) const {
    require<CommunicationError>(comm_ != nullptr, call, " on ", place_,
                                ": the NCCL communicator was aborted by an earlier error; end the job");
  }

  // Waits until NCCL has taken a call; throws on errors.
  void take(ncclResult_t result, const char* call) {
    Deadline deadline(timeout_seconds_);
    while (result == ncclInProgress) {
      if (!deadline.pause()) fail(call, concat("did not complete within ", timeout_seconds_, " s"));
      const ncclResult_t polled = ncclCommGetAsyncError(comm_, &result);
      if (polled != ncclSuccess) result = polled;
    }
    if (result != ncclSuccess) fail(call, describe(result));
  }

  // Throws where NCCL has met an error since.
  void poll(const char* call) {
    check_alive(call);
    ncclResult_t state = ncclSuccess;
    const ncclResult_t polled = ncclCommGetAsyncError(comm_, &state);
    if (polled != ncclSuccess) state = polled;
    if (state != ncclSuccess && state != ncclInProgress) fail(call, describe(state));
  }

  [[noreturn]] void fail(const char* call, const std::string& reason) {
    abort();
    throw CommunicationError(concat(call, " failed on ", place_, ": ", reason,
                                    ". The NCCL communicator was aborted; "
                                    "NCCL_DEBUG=INFO shows more. End the job"));
  }

  void abort() {
    if (comm_ != nullptr) ncclCommAbort(comm_);
    comm_ = nullptr;
  }

 private:
  std::string describe(ncclResult_t result) const {
    const char* last = comm_ != nullptr ? ncclGetLastError(comm_) : nullptr;
    return concat(ncclGetErrorString(result), last != nullptr && last[0] != '\0' ? concat(": ", last) : "", " (code ",
                  static_cast<int>(result), ")");
  }

  const std::string place_;
  const at::Device device_;
  const double timeout_seconds_;
  const int exceptions_at_start_;
  const c10::cuda::CUDAStream stream_;
  ncclComm_t comm_ = nullptr;
};

// A collective on the communicator's stream, between two events.
class NcclWork final : public Work {
 public:
  NcclWork(std::shared_ptr<NcclGroup> group, const char* call, std::vector<at::Tensor> tensors)
      : group_(std::move(group)), call_(call), tensors_(std::move(tensors)) {
    group_->check_alive(call_);
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
    // The collective begins after what the current stream holds now.
    check(cudaEventRecord(event_, current_stream()), "cudaEventRecord");
    check(cudaStreamWaitEvent(group_->stream(), event_, 0), "cudaStreamWaitEvent");
  }

  ~NcclWork() override {
    if (!done_) new std::vector<at::Tensor>(std::move(tensors_));  // leaked: NCCL may still write to them
    if (event_ != nullptr) cudaEventDestroy(event_);
  }

  NcclWork(const NcclWork&) = delete;
  NcclWork& operator=(const NcclWork&) = delete;

  // Called once, after the NCCL calls.
  void launched() { check(cudaEventRecord(event_, group_->stream()), "cudaEventRecord"); }

  void wait() override {
    Deadline deadline(group_->timeout_seconds());
    while (!is_complete()) {
      if (!deadline.pause()) group_->fail(call_, concat("did not end within ", group_->timeout_seconds(), " s"));
    }
    tensors_.clear();
  }

  bool is_complete() override {
    if (done_) return true;
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) {
      group_->poll(call_);
      return false;
    }
    if (state != cudaSuccess) group_->fail(call_, concat("cudaEventQuery: ", cudaGetErrorString(state)));
    group_->poll(call_);
    done_ = true;
    return true;
  }

 private:
  void check(cudaError_t code, const char* call) const { check_cuda(code, call, group_->place()); }
  cudaStream_t current_stream() const { return c10::cuda::getCurrentCUDAStream(group_->device().index()).stream(); }

  std::shared_ptr<NcclGroup> group_;
  const char* call_;
  std::vector<at::Tensor> tensors_;
  cudaEvent_t event_ = nullptr;
  bool done_ = false;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& bootstrap, std::shared_ptr<NcclGroup> group)
      : Communicator({bootstrap.rank(), bootstrap.world_size(), bootstrap.local_rank(), bootstrap.local_size()}),
        bootstrap_(bootstrap),
        group_(std::move(group)) {}

  std::string backend_name() const override { return "NCCL"; }

  [[noreturn]] void abort(int exit_code, const std::string& message) override {
    group_->abort();
    bootstrap_.abort(exit_code, message);
    std::abort();  // not reached; g++ does not see that a virtual function never returns
  }

 protected:
  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction, bool async) override {
    if (tensor.is_cpu()) return finished(bootstrap_.all_reduce_async(tensor, reduction), async);
    return launch("ncclAllReduce", {tensor}, async, [&] {
      return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), static_cast<size_t>(tensor.numel()),
                           nccl_type(tensor.scalar_type()), nccl_operation(reduction), group_->comm(),
                           group_->stream());
    });
  }

  std::unique_ptr<Work> start_broadcast(const at::Tensor& tensor, int root, bool async) override {
    if (tensor.is_cpu()) return finished(bootstrap_.broadcast_async(tensor, root), async);
    return launch("ncclBroadcast", {tensor}, async, [&] {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), num_bytes(tensor), ncclUint8, root, group_->comm(),
                           group_->stream());
    });
  }

  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& send, const at::Tensor& receive, Reduction reduction,
                                             bool async) override {
    if (send.is_cpu()) return finished(bootstrap_.reduce_scatter_async(send, receive, reduction), async);
    return launch("ncclReduceScatter", {send, receive}, async, [&] {
      return ncclReduceScatter(send.data_ptr(), receive.data_ptr(), static_cast<size_t>(receive.numel()),
                               nccl_type(send.scalar_type()), nccl_operation(reduction), group_->comm(),
                               group_->stream());
    });
  }

  std::unique_ptr<Work> start_all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                         bool async) override {
    if (send.is_cpu()) return finished(bootstrap_.all_gather_async(send, receives), async);
    return exchange("all_gather by ncclSend and ncclRecv",
                    std::vector<at::Tensor>(static_cast<size_t>(world_size()), send), receives, async);
  }

  std::unique_ptr<Work> start_all_to_all(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives,
                                         bool async) override {
    if (sends.front().is_cpu()) return finished(bootstrap_.all_to_all_async(sends, receives), async);
    return exchange("all_to_all by ncclSend and ncclRecv", sends, receives, async);
  }

  void run_barrier() override { bootstrap_.barrier(); }

  bool serves(const at::Device& device) const override { return device.is_cpu() || device == group_->device(); }

 private:
  static std::unique_ptr<Work> finished(std::unique_ptr<Work> work, bool async) {
    if (!async) work->wait();
    return work;
  }

  template <class Call>
  std::unique_ptr<Work> launch(const char* name, std::vector<at::Tensor> tensors, bool async, const Call& call) {
    const c10::cuda::CUDAGuard guard(group_->device());
    auto work = std::make_unique<NcclWork>(group_, name, std::move(tensors));
    group_->take(call(), name);
    work->launched();
    return finished(std::move(work), async);
  }

  // One group of pairwise messages; sizes may differ from pair to pair.
  std::unique_ptr<Work> exchange(const char* name, const std::vector<at::Tensor>& sends,
                                 const std::vector<at::Tensor>& receives, bool async) {
    std::vector<at::Tensor> tensors = sends;
    tensors.insert(tensors.end(), receives.begin(), receives.end());
    return launch(name, std::move(tensors), async, [&] {
      ncclResult_t result = ncclGroupStart();
      for (int other = 0; other < world_size() && accepted(result); ++other) {
        const at::Tensor& send = sends[static_cast<size_t>(other)];
        const at::Tensor& receive = receives[static_cast<size_t>(other)];
        if (send.numel() > 0) {
          result = ncclSend(send.data_ptr(), num_bytes(send), ncclUint8, other, group_->comm(), group_->stream());
        }
        if (receive.numel() > 0 && accepted(result)) {
          result = ncclRecv(receive.data_ptr(), num_bytes(receive), ncclUint8, other, group_->comm(), group_->stream());
        }
      }
      const ncclResult_t end = ncclGroupEnd();
      return accepted(result) ? end : result;
    });
  }

  static bool accepted(ncclResult_t result) { return result == ncclSuccess || result == ncclInProgress; }

  Communicator& bootstrap_;
  std::shared_ptr<NcclGroup> group_;
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

}  // namespace

std::string nccl_version() {
  int code = 0;
  const ncclResult_t result = ncclGetVersion(&code);
  require<CommunicationError>(result == ncclSuccess, "ncclGetVersion failed: ", ncclGetErrorString(result));
  return version_text(code);
}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& bootstrap, at::Device device,
                                                     const NcclOptions& options) {
  require(device.is_cuda(), "make_nccl_communicator: got device ", device.str(), ", expected a GPU from select_device");
  compare_across_ranks(bootstrap, "NCCL version", nccl_version());
  require<CommunicationError>(nccl_version() == version_text(NCCL_VERSION_CODE), "NCCL ", nccl_version(),
                              " is loaded, but this program was built with the headers of ",
                              version_text(NCCL_VERSION_CODE),
                              "; let LD_LIBRARY_PATH and LD_PRELOAD not name another libnccl.so.2");
  // Again here, since two ranks on one GPU would hang; it also finds machines without a GPU.
  require<base::ConfigError>(select_device("cuda", bootstrap) == device, "make_nccl_communicator: got device ",
                             device.str(), ", which is not this rank's from select_device");
  const ncclUniqueId id = share_unique_id(bootstrap);
  const RankPlace place = {bootstrap.rank(), bootstrap.world_size(), bootstrap.local_rank(), bootstrap.local_size()};
  auto group = std::make_shared<NcclGroup>(id, place, device, options.timeout_seconds);
  return std::make_unique<NcclCommunicator>(bootstrap, std::move(group));
}

}  // namespace rosa::parallel
