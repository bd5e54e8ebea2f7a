// The form of builds with CUDA: a side stream, pinned memory and events.
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "base/error.h"
#include "rosa/operator/device_transfer.h"

namespace rosa {
namespace {

class CudaTransfer final : public DeviceTransfer {
 public:
  explicit CudaTransfer(at::Device device)
      : device_(device), side_stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())) {}

  ~CudaTransfer() override {
    // The sources may be freed only after their copies; an exception may have kept the workers from waiting.
    if (arrived_.isCreated()) arrived_.synchronize();
  }

  std::vector<at::Tensor> start_to_host(const std::vector<at::Tensor>& device_tensors) override {
    const c10::cuda::CUDAGuard device_guard(device_);
    at::cuda::CUDAEvent packed;
    packed.record(c10::cuda::getCurrentCUDAStream(device_.index()));
    packed.block(side_stream_);
    sources_ = device_tensors;
    std::vector<at::Tensor> copies;
    const c10::cuda::CUDAStreamGuard stream_guard(side_stream_);
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

  at::Tensor host_tensor(at::IntArrayRef sizes, at::ScalarType dtype) override {
    return at::empty(sizes, at::TensorOptions(dtype).pinned_memory(true));
  }

  at::Tensor to_device(const at::Tensor& pinned) override {
    const c10::cuda::CUDAGuard device_guard(device_);
    const c10::cuda::CUDAStream current = c10::cuda::getCurrentCUDAStream(device_.index());
    at::Tensor result;
    {
      // On the side stream, and with its memory, the copy need not wait for the proxy on the current stream.
      const c10::cuda::CUDAStreamGuard stream_guard(side_stream_);
      result = at::empty(pinned.sizes(), pinned.options().pinned_memory(false).device(device_));
      result.copy_(pinned, /*non_blocking=*/true);  // the host allocator keeps `pinned` until then
      at::cuda::CUDAEvent copied;
      copied.record(side_stream_);
      copied.block(current);
    }
    result.record_stream(current);  // its memory must not go to the side stream's next user while it is read there
    return result;
  }

 private:
  const at::Device device_;
  const c10::cuda::CUDAStream side_stream_;
  at::cuda::CUDAEvent arrived_;
  std::vector<at::Tensor> sources_;
};

}  // namespace

std::unique_ptr<DeviceTransfer> make_device_transfer(at::Device device) {
  base::require<base::ConfigError>(device.is_cuda(), "host executor: got symbols on ", device.str(),
                                   ", expected the CPU or a CUDA device");
  return std::make_unique<CudaTransfer>(device);
}

}  // namespace rosa
