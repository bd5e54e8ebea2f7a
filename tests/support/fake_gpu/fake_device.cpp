#include "fake_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "fake_gpu.h"

namespace fake_gpu {
namespace {

constexpr at::DeviceType kType = at::kPrivateUse1;
constexpr size_t kPoolSize = 8;

void check(cudaError_t error, const char* call) {
  TORCH_CHECK(error == cudaSuccess, call, ": ", cudaGetErrorString(error), " (code ", static_cast<int>(error), ")");
}

int get_device() {
  int index = 0;
  check(cudaGetDevice(&index), "cudaGetDevice");
  return index;
}

// The streams of every device: number 0 is the first current one, the rest a pool, made when first asked for.
class Streams {
 public:
  cudaStream_t get(int device_index, int64_t number) {
    const std::lock_guard lock(mutex_);
    cudaStream_t& stream = streams_[static_cast<size_t>(device_index)][static_cast<size_t>(number)];
    if (stream == nullptr) {
      const int before = get_device();
      check(cudaSetDevice(device_index), "cudaSetDevice");
      check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0), "cudaStreamCreateWithPriority");
      check(cudaSetDevice(before), "cudaSetDevice");
    }
    return stream;
  }

  int64_t next_of_pool(int device_index) {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(1 + num_taken_[static_cast<size_t>(device_index)]++ % kPoolSize);
  }

 private:
  std::mutex mutex_;
  std::array<std::array<cudaStream_t, kPoolSize + 1>, kNumDevices> streams_ = {};
  std::array<size_t, kNumDevices> num_taken_ = {};
};

// Never destroyed, like the streams themselves.
Streams& streams() {
  static Streams* the_streams = new Streams;
  return *the_streams;
}

thread_local std::array<int64_t, kNumDevices> current_streams = {};

cudaStream_t handle_of(const c10::Stream& stream) { return streams().get(stream.device_index(), stream.id()); }

// As c10::cuda::impl::CUDAGuardImpl, in the parts that are used.
class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  at::DeviceType type() const override { return kType; }
  at::Device exchangeDevice(at::Device device) const override {
    const at::Device before = getDevice();
    setDevice(device);
    return before;
  }
  at::Device getDevice() const override { return fake_gpu::device(get_device()); }
  void setDevice(at::Device device) const override { check(cudaSetDevice(device.index()), "cudaSetDevice"); }
  void uncheckedSetDevice(at::Device device) const noexcept override { (void)cudaSetDevice(device.index()); }
  c10::DeviceIndex deviceCount() const noexcept override { return kNumDevices; }

  c10::Stream getStream(at::Device device) const override {
    return stream_of(device, current_streams[static_cast<size_t>(device.index())]);
  }
  c10::Stream getDefaultStream(at::Device device) const override { return stream_of(device, 0); }
  c10::Stream getStreamFromGlobalPool(at::Device device, bool) const override {
    return stream_of(device, streams().next_of_pool(device.index()));
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    const c10::Stream before = getStream(stream.device());
    current_streams[static_cast<size_t>(stream.device_index())] = stream.id();
    return before;
  }
  void* getStreamNativeHandle(const c10::Stream stream) const override { return handle_of(stream); }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex,
              const c10::EventFlag flag) const override {
    const c10::DeviceGuard guard(stream.device());
    if (*event == nullptr) {
      cudaEvent_t created = nullptr;
      const unsigned flags = flag == c10::EventFlag::BACKEND_DEFAULT ? cudaEventDefault : cudaEventDisableTiming;
      check(cudaEventCreateWithFlags(&created, flags), "cudaEventCreateWithFlags");
      *event = created;
    }
    check(cudaEventRecord(static_cast<cudaEvent_t>(*event), handle_of(stream)), "cudaEventRecord");
  }
  void block(void* event, const c10::Stream& stream) const override {
    if (event == nullptr) return;
    check(cudaStreamWaitEvent(handle_of(stream), static_cast<cudaEvent_t>(event), 0), "cudaStreamWaitEvent");
  }
  bool queryEvent(void* event) const override {
    if (event == nullptr) return true;
    const cudaError_t state = cudaEventQuery(static_cast<cudaEvent_t>(event));
    if (state != cudaErrorNotReady) check(state, "cudaEventQuery");
    return state == cudaSuccess;
  }
  void synchronizeEvent(void* event) const override {
    check(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "cudaEventSynchronize");
  }
  double elapsedTime(void* start, void* end, const c10::DeviceIndex) const override {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(start), static_cast<cudaEvent_t>(end)),
          "cudaEventElapsedTime");
    return milliseconds;
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    check(cudaStreamSynchronize(handle_of(stream)), "cudaStreamSynchronize");
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    if (event != nullptr) (void)cudaEventDestroy(static_cast<cudaEvent_t>(event));
  }

 private:
  static c10::Stream stream_of(at::Device device, int64_t number) {
    return c10::Stream(c10::Stream::UNSAFE, device, number);
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

class Allocator final : public at::Allocator {
 public:
  at::DataPtr allocate(size_t size) override {
    void* pointer = nullptr;
    check(cudaMalloc(&pointer, size), "cudaMalloc");
    return {pointer, pointer, &free, fake_gpu::device(get_device())};
  }
  at::DeleterFnPtr raw_deleter() const override { return &free; }
  void copy_data(void* to, const void* from, size_t size) const override { default_copy_data(to, from, size); }

 private:
  static void free(void* pointer) { (void)cudaFree(pointer); }
};

at::Allocator* allocator() {
  static Allocator the_allocator;
  return &the_allocator;
}

void give(std::function<void()> task) {
  auto* data = new std::function<void()>(std::move(task));
  const cudaHostFn_t run = [](void* pointer) {
    const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(pointer));
    (*owned)();
  };
  check(cudaLaunchHostFunc(current_stream(), run, data), "cudaLaunchHostFunc");
}

// --- the few operators of its own

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(device.value_or(fake_gpu::device(get_device())));
  return at::detail::empty_generic(size, allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(type), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type,
                         std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(device.value_or(fake_gpu::device(get_device())));
  return at::detail::empty_strided_generic(
      size, stride, allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::dtype_or_default(type));
}

// The same memory as a tensor of the host, for tasks. Of contiguous tensors.
at::Tensor on_host(const at::Tensor& tensor) {
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.options().device(at::kCPU));
}

// The tasks hold the tensors: their memory lives until the stream has got there.
at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  TORCH_CHECK(to.is_contiguous(), "fakegpu copies into contiguous tensors only");
  if (from.device().type() == kType && to.device().type() == kType) {
    TORCH_CHECK(from.is_contiguous(), "fakegpu copies plain tensors only");
    const c10::DeviceGuard guard(to.device());
    give([from, to] { on_host(to).copy_(on_host(from)); });
    return to;
  }
  if (to.device().type() == kType) {
    const c10::DeviceGuard guard(to.device());
    const at::Tensor staged = at::empty(to.sizes(), from.options().dtype(to.scalar_type()));
    staged.copy_(from);
    give([staged, to] { std::memcpy(to.data_ptr(), staged.data_ptr(), to.nbytes()); });
    return to;
  }
  TORCH_CHECK(from.is_contiguous(), "fakegpu copies plain tensors only");
  const c10::DeviceGuard guard(from.device());
  const at::Tensor staged = at::empty(from.sizes(), to.options().dtype(from.scalar_type()));
  check(cudaMemcpyAsync(staged.data_ptr(), from.data_ptr(), from.nbytes(), cudaMemcpyDeviceToHost, current_stream()),
        "cudaMemcpyAsync");
  check(cudaStreamSynchronize(current_stream()), "cudaStreamSynchronize");
  to.copy_(staged.view(to.sizes()));
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  TORCH_CHECK(from.sizes() == to.sizes(), "fakegpu resizes no tensors");
  return copy_from(from, to, false);
}

void compute_on_host(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  at::native::cpu_fallback(operation, stack);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("view", &at::native::view);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&compute_on_host>());
}

}  // namespace

at::Device device(int index) { return at::Device(kType, static_cast<at::DeviceIndex>(index)); }

cudaStream_t current_stream() {
  const int index = get_device();
  return streams().get(index, current_streams[static_cast<size_t>(index)]);
}

}  // namespace fake_gpu
