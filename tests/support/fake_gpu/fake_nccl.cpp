// NCCL on host memory, between processes: the calls. A communicator's own thread takes them (calls are non-blocking:
// ncclInProgress first) and puts them into streams, whose threads carry them out (fake_nccl_run.cpp).
#include "fake_nccl.h"

#include <nccl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <set>
#include <utility>

#include "fake_nccl_run.h"

namespace fake_gpu {
namespace {

struct Nccl {
  std::mutex mutex;
  std::string exchange_folder = "/dev/shm";
  int version = 0;
  int num_communicators = 0;
  int num_ids = 0;
  std::set<ncclComm_t> living;
  cudaStream_t last_stream = nullptr;
};

Nccl& nccl() {
  static Nccl* the_nccl = new Nccl;
  return *the_nccl;
}

// --- calls

// What is wrong with calling `name` now; ncclSuccess if nothing.
ncclResult_t enter(ncclComm_t comm, const char* name) {
  int code = 0;
  if (takes_failure(name, code)) return static_cast<ncclResult_t>(code);
  {
    const std::lock_guard lock(nccl().mutex);
    if (nccl().living.count(comm) == 0) {
      note_violation(text_of(name, " on a communicator that was destroyed"));
      return ncclInvalidArgument;
    }
  }
  int device = 0;
  cudaGetDevice(&device);
  if (device != comm->device) note_violation(text_of(name, ": the current device is not the communicator's"));
  const std::lock_guard lock(comm->mutex);
  if (comm->state == ncclInProgress) {
    note_violation(text_of(name, " while the call before is in progress"));
    return ncclInvalidUsage;
  }
  return comm->state;
}

// Lets the communicator's thread do `job`, which returns the state after it.
ncclResult_t give(ncclComm_t comm, const char* name, const std::function<ncclResult_t()>& job) {
  int code = 0;
  const bool fails = takes_failure(text_of(name, ":later").c_str(), code);
  int ignored = 0;
  const bool is_stuck = takes_failure(text_of(name, ":stuck").c_str(), ignored);
  {
    const std::lock_guard lock(comm->mutex);
    if (comm->state != ncclSuccess) return comm->state;  // an asynchronous error
    comm->state = ncclInProgress;
  }
  comm->worker->give([=] {
    if (is_stuck) return wait_for_abort(*comm);
    const ncclResult_t result = fails ? static_cast<ncclResult_t>(code) : job();
    const std::lock_guard lock(comm->mutex);
    // An asynchronous error may have come meanwhile.
    if (comm->state == ncclInProgress) comm->state = result;
    if (fails) comm->last_error = "refused on purpose";
    comm->changed.notify_all();
  });
  if (!comm->is_blocking) return ncclInProgress;
  std::unique_lock lock(comm->mutex);
  comm->changed.wait(lock, [&] { return comm->state != ncclInProgress; });
  return comm->state;
}

ncclResult_t launch(ncclComm_t comm, Operation operation, cudaStream_t stream) {
  if (device_of(stream) != comm->device) note_violation(operation.call + ": the stream is of another device");
  {
    const std::lock_guard lock(nccl().mutex);
    nccl().last_stream = stream;
  }
  int running_code = -1;
  int broken_code = -1;
  takes_failure((operation.call + ":running").c_str(), running_code);
  takes_failure((operation.call + ":broken").c_str(), broken_code);
  operation.number = comm->num_collectives++;
  for (Pointwise& message : operation.messages) {
    auto& counts = message.is_send ? comm->num_sent : comm->num_received;
    message.number = counts[static_cast<size_t>(message.peer)]++;
  }
  const std::string call = operation.call;
  auto* task = new Launch{comm, std::move(operation), running_code, broken_code};
  // Only here, later, does the collective enter the stream: events recorded before do not cover it.
  return give(comm, call.c_str(), [comm, stream, task] {
    {
      const std::lock_guard lock(comm->mutex);
      ++comm->num_in_flight;
    }
    cudaLaunchHostFunc(stream, run_launch, task);
    return ncclSuccess;
  });
}

const char* name_of(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return "uint8";
    case ncclInt32:
      return "int32";
    case ncclInt64:
      return "int64";
    case ncclFloat32:
      return "float32";
    case ncclFloat64:
      return "float64";
    default:
      return "another type";
  }
}

const char* name_of(ncclRedOp_t reduction) {
  return reduction == ncclSum ? "sum" : reduction == ncclMax ? "max" : reduction == ncclMin ? "min" : "another";
}

std::string where(ncclComm_t comm, cudaStream_t stream) {
  return text_of("stream ", number_of(stream), " comm ", comm->number);
}

// --- groups, of the calling thread

struct OpenGroup {
  int depth = 0;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
  Operation operation;
};

thread_local OpenGroup open_group;

ncclResult_t add_message(ncclComm_t comm, const char* name, Pointwise message, size_t count, ncclDataType_t type,
                         cudaStream_t stream) {
  if (const ncclResult_t error = enter(comm, name)) return error;
  message.num_bytes = count * size_of(type);
  note_call(text_of(name, " ", message.num_bytes, " bytes peer ", message.peer, " ", where(comm, stream)));
  const bool is_alone = open_group.depth == 0;
  if (is_alone) ncclGroupStart();
  if (open_group.comm != nullptr && (open_group.comm != comm || open_group.stream != stream)) {
    note_violation("a group over several communicators or streams, which this fake does not know");
    return ncclInvalidUsage;
  }
  open_group.comm = comm;
  open_group.stream = stream;
  open_group.operation.messages.push_back(message);
  return is_alone ? ncclGroupEnd() : ncclSuccess;
}

void end_living(ncclComm_t comm) {
  const std::lock_guard lock(nccl().mutex);
  nccl().living.erase(comm);
}

}  // namespace

void set_exchange_folder(const std::string& folder) {
  const std::lock_guard lock(nccl().mutex);
  nccl().exchange_folder = folder;
}

void set_nccl_version(int code) {
  const std::lock_guard lock(nccl().mutex);
  nccl().version = code;
}

cudaStream_t last_stream() {
  const std::lock_guard lock(nccl().mutex);
  return nccl().last_stream;
}

int num_living_communicators() {
  const std::lock_guard lock(nccl().mutex);
  return static_cast<int>(nccl().living.size());
}

}  // namespace fake_gpu

using fake_gpu::enter;
using fake_gpu::name_of;
using fake_gpu::nccl;
using fake_gpu::note_call;
using fake_gpu::Operation;
using fake_gpu::size_of;
using fake_gpu::text_of;
using fake_gpu::where;

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  int code = 0;
  if (fake_gpu::takes_failure("ncclGetVersion", code)) return static_cast<ncclResult_t>(code);
  const std::lock_guard lock(nccl().mutex);
  *version = nccl().version != 0 ? nccl().version : NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (static_cast<int>(result)) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t comm) {
  if (comm == nullptr) return "";
  const std::lock_guard lock(comm->mutex);
  thread_local std::string text;
  text = comm->last_error;
  return text.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  int code = 0;
  if (fake_gpu::takes_failure("ncclGetUniqueId", code)) return static_cast<ncclResult_t>(code);
  note_call("ncclGetUniqueId");
  const std::lock_guard lock(nccl().mutex);
  std::snprintf(id->internal, sizeof(id->internal), "%d_%d", static_cast<int>(getpid()), ++nccl().num_ids);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* result, int num_ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  int code = 0;
  if (fake_gpu::takes_failure("ncclCommInitRankConfig", code)) return static_cast<ncclResult_t>(code);
  auto* comm = new ncclComm;  // never freed: threads of streams may still look at it
  {
    const std::lock_guard lock(nccl().mutex);
    comm->number = ++nccl().num_communicators;
    comm->folder = nccl().exchange_folder + "/" + id.internal;
    nccl().living.insert(comm);
  }
  comm->rank = rank;
  comm->size = num_ranks;
  comm->is_blocking = config->blocking != 0;
  comm->num_sent.resize(static_cast<size_t>(num_ranks));
  comm->num_received.resize(static_cast<size_t>(num_ranks));
  cudaGetDevice(&comm->device);
  comm->worker = std::make_unique<fake_gpu::Worker>(fake_gpu::seed() * 7919 + static_cast<uint64_t>(comm->number));
  *result = comm;
  note_call(text_of("ncclCommInitRankConfig rank ", rank, " of ", num_ranks,
                    comm->is_blocking ? " blocking" : " non-blocking", " comm ", comm->number));
  return fake_gpu::give(comm, "ncclCommInitRankConfig", [comm] {
    std::filesystem::create_directories(comm->folder);
    std::string difference;
    if (!fake_gpu::meet(*comm, "init", text_of("of ", comm->size), difference)) return ncclInternalError;
    return difference.empty() ? ncclSuccess : ncclInvalidUsage;
  });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  int code = 0;
  if (fake_gpu::takes_failure("ncclCommGetAsyncError", code)) return static_cast<ncclResult_t>(code);
  {
    const std::lock_guard lock(nccl().mutex);
    if (nccl().living.count(comm) == 0) {
      fake_gpu::note_violation("ncclCommGetAsyncError on a communicator that was destroyed");
      return ncclInvalidArgument;
    }
  }
  const std::lock_guard lock(comm->mutex);
  *error = comm->state;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  if (const ncclResult_t error = enter(comm, "ncclCommFinalize")) return error;
  note_call(text_of("ncclCommFinalize comm ", comm->number));
  return fake_gpu::give(comm, "ncclCommFinalize", [comm] {
    {
      std::unique_lock lock(comm->mutex);
      while (comm->num_in_flight > 0 && !comm->is_aborted) comm->changed.wait_for(lock, std::chrono::milliseconds(1));
    }
    std::string difference;
    if (!fake_gpu::meet(*comm, "finalize", "", difference)) return ncclInternalError;
    comm->is_finalized = true;
    return ncclSuccess;
  });
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (const ncclResult_t error = enter(comm, "ncclCommDestroy")) return error;
  note_call(text_of("ncclCommDestroy comm ", comm->number));
  if (!comm->is_finalized) fake_gpu::note_violation("ncclCommDestroy without ncclCommFinalize");
  comm->worker.reset();
  fake_gpu::end_living(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  int code = 0;
  if (fake_gpu::takes_failure("ncclCommAbort", code)) return static_cast<ncclResult_t>(code);
  {
    const std::lock_guard lock(nccl().mutex);
    if (nccl().living.erase(comm) == 0) {
      fake_gpu::note_violation("ncclCommAbort on a communicator that was destroyed");
      return ncclInvalidArgument;
    }
  }
  note_call(text_of("ncclCommAbort comm ", comm->number));
  comm->is_aborted = true;
  comm->worker.reset();
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  int code = 0;
  if (fake_gpu::takes_failure("ncclGroupStart", code)) return static_cast<ncclResult_t>(code);
  note_call("ncclGroupStart");
  ++fake_gpu::open_group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (fake_gpu::open_group.depth == 0) {
    fake_gpu::note_violation("ncclGroupEnd without ncclGroupStart");
    return ncclInvalidUsage;
  }
  note_call("ncclGroupEnd");
  if (--fake_gpu::open_group.depth > 0) return ncclSuccess;
  fake_gpu::OpenGroup group = std::exchange(fake_gpu::open_group, {});
  int code = 0;
  if (fake_gpu::takes_failure("ncclGroupEnd", code)) return static_cast<ncclResult_t>(code);
  if (group.comm == nullptr) return ncclSuccess;
  group.operation.call = "ncclGroupEnd";
  return fake_gpu::launch(group.comm, std::move(group.operation), group.stream);
}

ncclResult_t ncclSend(const void* send, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return fake_gpu::add_message(comm, "ncclSend", {.is_send = true, .send = send, .peer = peer}, count, type, stream);
}

ncclResult_t ncclRecv(void* receive, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return fake_gpu::add_message(comm, "ncclRecv", {.receive = receive, .peer = peer}, count, type, stream);
}

ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t reduction,
                           ncclComm_t comm, cudaStream_t stream) {
  if (const ncclResult_t error = enter(comm, "ncclAllReduce")) return error;
  const std::string header = text_of("ncclAllReduce ", name_of(type), " ", count, " ", name_of(reduction));
  note_call(header + " " + where(comm, stream));
  const size_t size = count * size_of(type);
  return fake_gpu::launch(comm,
                          {.call = "ncclAllReduce",
                           .header = header,
                           .send = send,
                           .receive = receive,
                           .send_bytes = size,
                           .receive_bytes = size,
                           .type = type,
                           .reduction = reduction},
                          stream);
}

ncclResult_t ncclBroadcast(const void* send, void* receive, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  if (const ncclResult_t error = enter(comm, "ncclBroadcast")) return error;
  const std::string header = text_of("ncclBroadcast ", name_of(type), " ", count, " root ", root);
  note_call(header + " " + where(comm, stream));
  const size_t size = count * size_of(type);
  return fake_gpu::launch(comm,
                          {.call = "ncclBroadcast",
                           .header = header,
                           .send = send,
                           .receive = receive,
                           .send_bytes = size,
                           .receive_bytes = size,
                           .type = type,
                           .root = root},
                          stream);
}

ncclResult_t ncclReduceScatter(const void* send, void* receive, size_t receive_count, ncclDataType_t type,
                               ncclRedOp_t reduction, ncclComm_t comm, cudaStream_t stream) {
  if (const ncclResult_t error = enter(comm, "ncclReduceScatter")) return error;
  const std::string header = text_of("ncclReduceScatter ", name_of(type), " ", receive_count, " ", name_of(reduction));
  note_call(header + " " + where(comm, stream));
  const size_t size = receive_count * size_of(type);
  return fake_gpu::launch(comm,
                          {.call = "ncclReduceScatter",
                           .header = header,
                           .send = send,
                           .receive = receive,
                           .send_bytes = size * static_cast<size_t>(comm->size),
                           .receive_bytes = size,
                           .type = type,
                           .reduction = reduction},
                          stream);
}

}  // extern "C"
