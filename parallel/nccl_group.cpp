#include "parallel/nccl_group.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "base/log.h"

namespace rosa::parallel {
namespace {

using base::CommunicationError;
using base::concat;
using base::require;

constexpr std::chrono::microseconds kLongestPause(1000);

c10::impl::VirtualGuardImpl device_implementation(at::Device device) {
  return c10::impl::VirtualGuardImpl(device.type());
}

}  // namespace

NcclGroup::NcclGroup(const ncclUniqueId& id, const RankPlace& place, std::string who, at::Device device,
                     double timeout_seconds)
    : place_(std::move(who)),
      device_(device),
      stream_(device_implementation(device).getStreamFromGlobalPool(device, /*isHighPriority=*/true)) {
  const c10::DeviceGuard guard(device_);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const std::lock_guard lock(mutex_);
  take(ncclCommInitRankConfig(&comm_, place.world_size, id, place.rank, &config), "ncclCommInitRankConfig",
       timeout_seconds);
}

NcclGroup::~NcclGroup() { abort(); }

c10::Stream NcclGroup::current_stream() const { return device_implementation(device_).getStream(device_); }

void NcclGroup::enqueue(const char* name, double timeout_seconds,
                        const std::function<ncclResult_t(ncclComm_t, cudaStream_t)>& call) {
  const c10::DeviceGuard guard(device_);
  const std::lock_guard lock(mutex_);
  require_open(name);
  take(call(comm_, static_cast<cudaStream_t>(stream_.native_handle())), name, timeout_seconds);
}

void NcclGroup::check(const char* name) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::closed) return;  // closing has waited for what was under way
  require_open(name);
  ncclResult_t state = ncclSuccess;
  const ncclResult_t polled = ncclCommGetAsyncError(comm_, &state);
  if (polled != ncclSuccess) state = polled;
  if (state != ncclSuccess && state != ncclInProgress) fail(name, describe(state));
}

void NcclGroup::abort() {
  const std::lock_guard lock(mutex_);
  abort_locked();
}

void NcclGroup::close(double timeout_seconds) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::open) return;
  const c10::DeviceGuard guard(device_);
  try {
    take(ncclCommFinalize(comm_), "ncclCommFinalize", timeout_seconds);
    state_ = State::closed;
    const ncclResult_t destroyed = ncclCommDestroy(comm_);
    if (destroyed != ncclSuccess) base::log_warning(concat("ncclCommDestroy on ", place_, ": ", describe(destroyed)));
    comm_ = nullptr;
  } catch (const CommunicationError& error) {
    base::log_warning(concat("while closing the NCCL communicator: ", error.what()));
  }
}

void NcclGroup::require_open(const char* name) const {
  require<CommunicationError>(state_ == State::open, name, " on ", place_, ": the NCCL communicator was ",
                              state_ == State::closed ? "closed" : "aborted after an earlier error; end the job");
}

// Waits until NCCL has taken a call; throws on errors.
void NcclGroup::take(ncclResult_t result, const char* name, double timeout_seconds) {
  const bool in_time = poll_until(deadline_after(timeout_seconds), kLongestPause, [&] {
    if (result != ncclInProgress) return true;
    const ncclResult_t polled = ncclCommGetAsyncError(comm_, &result);
    if (polled != ncclSuccess) result = polled;
    return result != ncclInProgress;
  });
  if (!in_time) fail(name, concat("did not complete within ", timeout_seconds, " s"));
  if (result != ncclSuccess) fail(name, describe(result));
}

void NcclGroup::fail(const char* name, const std::string& reason) {
  abort_locked();
  throw CommunicationError(concat(name, " failed on ", place_, ": ", reason,
                                  ". The NCCL communicator was aborted; NCCL_DEBUG=INFO shows more. End the job"));
}

void NcclGroup::abort_locked() {
  if (state_ != State::open) return;
  state_ = State::aborted;
  if (comm_ != nullptr) ncclCommAbort(comm_);
  comm_ = nullptr;
}

std::string NcclGroup::describe(ncclResult_t result) const {
  const char* last = comm_ != nullptr ? ncclGetLastError(comm_) : nullptr;
  const std::string details = last != nullptr && last[0] != '\0' ? concat(": ", last) : std::string();
  return concat(ncclGetErrorString(result), details, " (code ", static_cast<int>(result), ")");
}

}  // namespace rosa::parallel
