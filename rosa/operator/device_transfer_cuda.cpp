// The form of builds with CUDA: a side stream, pinned memory and events.
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <deque>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "rosa/operator/device_span.h"
#include "rosa/operator/device_transfer.h"
#include "rosa/operator/staging_buffer.h"

namespace rosa {
namespace {

using at::cuda::CUDAEvent;

class CudaTransfer final : public DeviceTransfer {
 public:
  explicit CudaTransfer(at::Device device)
      : device_(device), side_stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())) {}

  ~CudaTransfer() override {
    // The sources may be freed only after their copies; an exception may have kept the workers from waiting.
    if (arrived_.isCreated()) arrived_.synchronize();
  }

  std::vector<at::Tensor> start_to_host(const std::vector<at::Tensor>& device_tensors, int64_t result_bytes) override {
    // A job whose workers never ran leaves sources that are being copied still.
    if (arrived_.isCreated()) arrived_.synchronize();
    int64_t num_bytes = result_bytes;
    for (const at::Tensor& tensor : device_tensors) {
      num_bytes += StagingBuffer::bytes_of(tensor.sizes(), tensor.scalar_type());
    }
    staging_.begin(num_bytes);
    const c10::cuda::CUDAGuard device_guard(device_);
    CUDAEvent packed;
    packed.record(current_stream());
    packed.block(side_stream_);
    sources_ = device_tensors;
    std::vector<at::Tensor> copies;
    // The results of the job before leave the same staging buffer on this stream, hence before these copies arrive.
    const c10::cuda::CUDAStreamGuard stream_guard(side_stream_);
    const DeviceSpan span(device_, "copy", "symbols to host", {{"bytes", num_bytes - result_bytes}}, "copies");
    for (const at::Tensor& source : sources_) {
      copies.push_back(host_tensor(source.sizes(), source.scalar_type()));
      copies.back().copy_(source, /*non_blocking=*/true);
    }
    arrived_.record(side_stream_);
    return copies;
  }

  void wait_for_host() override {
    const c10::cuda::CUDAGuard device_guard(device_);
    arrived_.synchronize();
  }

  at::Tensor host_tensor(at::IntArrayRef sizes, at::ScalarType dtype) override { return staging_.take(sizes, dtype); }

  at::Tensor to_device(const at::Tensor& host) override {
    const c10::cuda::CUDAGuard device_guard(device_);
    at::Tensor result;
    {
      // On the side stream, and with its memory, the copy need not wait for the proxy on the current stream.
      const c10::cuda::CUDAStream current = current_stream();
      const c10::cuda::CUDAStreamGuard stream_guard(side_stream_);
      const DeviceSpan span(device_, "copy", "results to device", {{"bytes", static_cast<int64_t>(host.nbytes())}},
                            "copies");
      result = at::empty(host.sizes(), at::TensorOptions(host.scalar_type()).device(device_));
      result.copy_(host, /*non_blocking=*/true);
      CUDAEvent copied;
      copied.record(side_stream_);
      copied.block(current);
    }
    result.record_stream(current_stream());  // its memory must not go to the side stream's next user while it is read
    return result;
  }

  void stall_begins() override {
    const std::lock_guard lock(mutex_);
    // A wait that threw has left a beginning without an end.
    if (!stalls_.empty() && !stalls_.back().second.isCreated()) stalls_.pop_back();
    stalls_.emplace_back();
    stalls_.back().first.record(current_stream());
  }

  void stall_ends() override {
    const std::lock_guard lock(mutex_);
    stalls_.back().second.record(current_stream());
  }

  double stalled_ms() override {
    const std::lock_guard lock(mutex_);
    while (!stalls_.empty() && stalls_.front().second.isCreated() && stalls_.front().second.query()) {
      stalled_ms_ += stalls_.front().first.elapsed_time(stalls_.front().second);
      stalls_.pop_front();
    }
    return stalled_ms_;
  }

  int64_t staging_bytes() const override { return staging_.num_bytes(); }

 private:
  struct Stall {
    CUDAEvent first{cudaEventDefault}, second{cudaEventDefault};  // with times
  };

  c10::cuda::CUDAStream current_stream() const { return c10::cuda::getCurrentCUDAStream(device_.index()); }

  const at::Device device_;
  const c10::cuda::CUDAStream side_stream_;
  StagingBuffer staging_{/*pinned=*/true};
  CUDAEvent arrived_;
  std::vector<at::Tensor> sources_;
  std::mutex mutex_;
  std::deque<Stall> stalls_;
  double stalled_ms_ = 0;
};

}  // namespace

std::unique_ptr<DeviceTransfer> make_device_transfer(at::Device device) {
  base::require<base::ConfigError>(device.is_cuda(), "host executor: got symbols on ", device.str(),
                                   ", expected the CPU or a CUDA device");
  return std::make_unique<CudaTransfer>(device);
}

}  // namespace rosa
