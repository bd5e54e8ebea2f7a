// The inside of the made-up NCCL: communicators, and collectives as streams carry them out. fake_nccl.cpp has the
// calls.
#pragma once

#include <nccl.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "worker.h"

struct ncclComm {
  int number = 0;
  int rank = 0;
  int size = 0;
  int device = 0;
  bool is_blocking = true;
  std::string folder;

  std::mutex mutex;
  std::condition_variable changed;
  ncclResult_t state = ncclSuccess;  // of the last call, and asynchronous errors
  std::string last_error;
  int num_in_flight = 0;
  std::atomic<bool> is_aborted = false;
  bool is_finalized = false;

  // Touched in the order in which collectives are taken.
  int64_t num_collectives = 0;
  std::vector<int64_t> num_sent;
  std::vector<int64_t> num_received;
  std::unique_ptr<fake_gpu::Worker> worker;

  void set_state(ncclResult_t value, const std::string& error = {}) {
    const std::lock_guard lock(mutex);
    state = value;
    if (!error.empty()) last_error = error;
    changed.notify_all();
  }
};

namespace fake_gpu {

template <class... Parts>
std::string text_of(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

struct Pointwise {  // of a group
  bool is_send = false;
  const void* send = nullptr;
  void* receive = nullptr;
  size_t num_bytes = 0;
  int peer = 0;
  int64_t number = 0;  // among those of this pair and direction
};

struct Operation {
  std::string call;    // "ncclAllReduce"
  std::string header;  // must be the same on every rank
  const void* send = nullptr;
  void* receive = nullptr;
  size_t send_bytes = 0;
  size_t receive_bytes = 0;
  ncclDataType_t type = ncclUint8;
  ncclRedOp_t reduction = ncclSum;
  int root = -1;
  int64_t number = 0;
  std::vector<Pointwise> messages = {};
};

struct Launch {
  ncclComm_t comm;
  Operation operation;
  int running_code;  // as of fail_call; -1: none
  int broken_code;
};

size_t size_of(ncclDataType_t type);

// Every rank tells every other `header` and gets theirs; false when aborted. `difference` says whose is another.
bool meet(const ncclComm& comm, const std::string& name, const std::string& header, std::string& difference);

void wait_for_abort(const ncclComm& comm);

// The task of a stream that carries out a Launch, which it deletes.
void run_launch(void* data);

}  // namespace fake_gpu
