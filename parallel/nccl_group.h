// NcclGroup: one NCCL communicator, non-blocking, with the stream its collectives run on. Every call is followed by
// polling until NCCL has taken it; the first error or missed deadline aborts the communicator, so that nothing waits
// for ever. Streams and events are LibTorch's device-generic ones (c10::Stream, c10::Event): the same code runs on GPUs
// and in the tests, over a made-up device. For nccl_communicator.cpp only.
#pragma once

#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <nccl.h>

#include <functional>
#include <mutex>
#include <string>

#include "parallel/communicator.h"

namespace rosa::parallel {

class NcclGroup {
 public:
  // Joins the ranks that hold the same id; waits for them `timeout_seconds` at most. `who` names this rank in messages.
  // Throws CommunicationError.
  // Collective: every rank calls it.
  NcclGroup(const ncclUniqueId& id, const RankPlace& place, std::string who, at::Device device, double timeout_seconds);
  // Aborts what was not closed.
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  at::Device device() const { return device_; }
  const c10::Stream& stream() const { return stream_; }
  // The stream of the calling thread on the device, where tensors are computed.
  c10::Stream current_stream() const;

  // Calls `call` with the communicator and the native handle of the stream and waits until NCCL has taken it,
  // `timeout_seconds` at most: only then is the collective in the stream. Throws CommunicationError. Any thread may
  // call.
  void enqueue(const char* name, double timeout_seconds,
               const std::function<ncclResult_t(ncclComm_t, cudaStream_t)>& call);
  // Throws CommunicationError where NCCL has met an error since or the communicator was aborted. Any thread may call.
  void check(const char* name);
  // Runs `action` on c10's streams and events; what they throw becomes a CommunicationError, after an abort.
  template <class Action>
  auto on_device(const char* name, const Action& action);
  // Ends the communicator at once, also for collectives under way, whose results are void. Any thread may call.
  void abort();
  // Ends the communicator in peace: waits for the other ranks and for collectives under way, then frees it; on an
  // error or after `timeout_seconds` aborts instead and says so in the log. Collective: every rank calls it.
  void close(double timeout_seconds);

 private:
  enum class State { open, closed, aborted };

  void require_open(const char* name) const;
  void take(ncclResult_t result, const char* name, double timeout_seconds);
  void abort_locked();
  [[noreturn]] void fail(const char* name, const std::string& reason);
  std::string describe(ncclResult_t result) const;

  const std::string place_;
  const at::Device device_;
  const c10::Stream stream_;
  std::mutex mutex_;  // NCCL takes one call of a communicator at a time
  ncclComm_t comm_ = nullptr;
  State state_ = State::open;
};

template <class Action>
auto NcclGroup::on_device(const char* name, const Action& action) {
  try {
    return action();
  } catch (const c10::Error& error) {
    const std::lock_guard lock(mutex_);
    fail(name, error.what_without_backtrace());
  }
}

}  // namespace rosa::parallel
