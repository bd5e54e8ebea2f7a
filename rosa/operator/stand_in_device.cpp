#include "rosa/operator/stand_in_device.h"

#include <cmath>
#include <deque>
#include <mutex>
#include <utility>

#include "base/trace.h"
#include "rosa/operator/staging_buffer.h"

namespace rosa {

using base::WorkStream;

struct StandInDevice::Stream {
  Speed speed;
  WorkStream compute{"stand-in device"};
};

class StandInDevice::Transfer final : public DeviceTransfer {
 public:
  explicit Transfer(std::shared_ptr<Stream> streams) : stream_(std::move(streams)) {}

  void launch(const std::function<void()>& operations) override { stream_->compute.launch(operations); }

  std::vector<at::Tensor> start_to_host(const std::vector<at::Tensor>& device_tensors, int64_t result_bytes) override {
    int64_t num_bytes = result_bytes;
    for (const at::Tensor& tensor : device_tensors) {
      num_bytes += StagingBuffer::bytes_of(tensor.sizes(), tensor.scalar_type());
    }
    staging_.begin(num_bytes);
    copies_.block_until(stream_->compute.record());
    std::vector<at::Tensor> copies;
    for (const at::Tensor& source : device_tensors) {
      copies.push_back(staging_.take(source.sizes(), source.scalar_type()));
      copy("symbols to host", copies.back(), source);
    }
    arrived_ = copies_.record();
    return copies;
  }

  void wait_for_host() override { arrived_->wait(); }

  at::Tensor host_tensor(at::IntArrayRef sizes, at::ScalarType dtype) override { return staging_.take(sizes, dtype); }

  at::Tensor to_device(const at::Tensor& host) override {
    const at::Tensor result = at::empty(host.sizes(), at::TensorOptions(host.scalar_type()));
    copy("results to device", result, host);
    stream_->compute.block_until(copies_.record());
    return result;
  }

  void stall_begins() override {
    const std::lock_guard lock(mutex_);
    stalls_.emplace_back(stream_->compute.record(), nullptr);
  }

  void stall_ends() override {
    const std::lock_guard lock(mutex_);
    stalls_.back().second = stream_->compute.record();
  }

  double stalled_ms() override {
    const std::lock_guard lock(mutex_);
    // A wait that threw has left a beginning without an end.
    while (!stalls_.empty()) {
      const auto& [begin, end] = stalls_.front();
      if (end != nullptr && !end->is_passed()) break;
      if (end != nullptr) {
        stalled_ms_ += std::chrono::duration<double, std::milli>(end->passed_at() - begin->passed_at()).count();
      } else if (stalls_.size() == 1) {
        break;
      }
      stalls_.pop_front();
    }
    return stalled_ms_;
  }

  int64_t staging_bytes() const override { return staging_.num_bytes(); }

 private:
  void copy(const char* name, at::Tensor to, at::Tensor from) {
    const auto num_bytes = static_cast<int64_t>(from.nbytes());
    const std::chrono::duration<double> moving(static_cast<double>(num_bytes) / stream_->speed.bytes_per_second);
    copies_.launch(
        [name, to = std::move(to), from = std::move(from), num_bytes] {
          const base::TraceSpan span("copy", name, {{"bytes", num_bytes}});
          to.copy_(from);
        },
        stream_->speed.copy_latency + std::chrono::duration_cast<std::chrono::nanoseconds>(moving));
  }

  const std::shared_ptr<Stream> stream_;
  StagingBuffer staging_{/*pinned=*/false};
  WorkStream::EventPointer arrived_;
  std::mutex mutex_;
  std::deque<std::pair<WorkStream::EventPointer, WorkStream::EventPointer>> stalls_;
  double stalled_ms_ = 0;
  WorkStream copies_{"stand-in copies"};  // last: it ends before what it uses goes away
};

StandInDevice::StandInDevice(Speed speed) : stream_(std::make_shared<Stream>()) { stream_->speed = speed; }

StandInDevice::~StandInDevice() = default;

WorkStream& StandInDevice::stream() { return stream_->compute; }

MakeDeviceTransfer StandInDevice::transfers() {
  return [streams = stream_](at::Device) { return std::make_unique<Transfer>(streams); };
}

}  // namespace rosa
