// Communicator: the collectives of the system over a group of ranks, whatever carries them (one rank, threads, MPI,
// NCCL). Owns the checks of arguments, the comparison of calls in debug mode and the small host values; the backends
// only move and add bytes. Knows nothing of models. How to add a collective or a backend: docs/architecture.md.
#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "parallel/collective_call.h"
#include "parallel/work.h"

namespace c10 {
struct Event;
}

namespace rosa::parallel {

// Where a rank stands in its group and on its host.
struct RankPlace {
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;  // among the ranks that share this host's memory
  int local_size = 1;
  int local_leader = 0;  // the lowest rank of the group on this host
};

// All ranks of a group call the same collectives in the same order. A call may wait for the other ranks, unless its
// name ends in _async. Tensors are contiguous. Reductions take float32, float64, bfloat16 (rounded after each
// addition), int32, int64 and uint8; all other calls take any dtype. Every tensor of one call has the same dtype and
// lies on a device that the backend serves; else the call throws ArgumentError. Errors of the network and of other
// ranks are CommunicationError.
//
// Threads: one thread at a time may call the collectives of one communicator; a second one gets CommunicationError,
// since two threads' calls would come in another order on every rank. A thread that communicates beside the training
// loop (a gradient reducer, a checkpoint writer) uses a communicator of its own, from duplicate(). The Work of an async
// collective may be waited for on any thread. rank() and its like and abort() may be called on any thread at any time.
class Communicator {
 public:
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  int rank() const { return place_.rank; }
  int world_size() const { return place_.world_size; }
  int local_rank() const { return place_.local_rank; }
  int local_size() const { return place_.local_size; }
  int local_leader() const { return place_.local_leader; }
  // The ranks of the job that this is a communicator of.
  const RankGroup& group() const { return *group_; }
  // "rank 1 of 4", or "rank 3 (1 of 2 in group node 1)", for messages.
  std::string who() const;
  // "one rank", "threads", "MPI", "NCCL".
  virtual std::string backend_name() const = 0;
  // Where tensors lie that this communicator carries without a detour: a GPU with NCCL, else the CPU.
  virtual at::Device device() const { return at::kCPU; }

  // Returns a communicator over the same ranks on a channel of its own, with this one's time limit and debug mode, for
  // another thread. Several may work at the same time with "threads" and, where MPI provides MPI_THREAD_MULTIPLE, with
  // MPI; with NCCL as far as NCCL allows it (collectives of two communicators on one GPU may wait for each other where
  // ranks launch them in another order). It must not outlive what this one was made from. Collective: every rank calls
  // it.
  std::unique_ptr<Communicator> duplicate();

  // Returns a communicator over those ranks that pass the same color, as duplicate() does over all. Ranks are counted
  // by key, ranks of one key as they are here. `name` is the group's in messages and for the watchdog, which also give
  // the ranks' numbers in the job: the same on all ranks of a color, another one for each color. A group does not wait
  // for the others. Throws ArgumentError, on every rank, for names that are none such, and for a negative color.
  // Collective: every rank calls it.
  std::unique_ptr<Communicator> split(int color, int key, const std::string& name);

  // Reduces the tensors of all ranks in place; every rank gets the same bits. Collective: every rank calls it.
  // The order of a floating-point sum is the backend's (see GradientReducer for a fixed one).
  void all_reduce(const at::Tensor& tensor, Reduction reduction = Reduction::sum);
  // Overwrites the tensor with that of `root`. Collective: every rank calls it.
  void broadcast(const at::Tensor& tensor, int root);
  // Returns the tensors of all ranks, of equal shape, in rank order. Collective: every rank calls it.
  std::vector<at::Tensor> all_gather(const at::Tensor& tensor);
  // As above into tensors that the caller owns; receives[r] has as many elements as rank r sends (which may differ
  // from rank to rank). Collective: every rank calls it.
  void all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives);
  // Reduces a tensor whose first dimension is a multiple of world_size and returns this rank's part of it
  // (part r is rows [r n / world_size, (r + 1) n / world_size)). Collective: every rank calls it.
  at::Tensor reduce_scatter(const at::Tensor& tensor, Reduction reduction = Reduction::sum);
  // Sends sends[r] to rank r and fills receives[r] from rank r; receives[r] has as many elements as rank r's
  // sends[rank()], possibly none. Collective: every rank calls it.
  void all_to_all(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives);
  // Returns when every rank has called it. Collective: every rank calls it.
  void barrier();

  // The same collectives, started and not waited for; wait on the result before touching the tensors.
  // Collective: every rank calls it.
  std::unique_ptr<Work> all_reduce_async(const at::Tensor& tensor, Reduction reduction = Reduction::sum);
  std::unique_ptr<Work> broadcast_async(const at::Tensor& tensor, int root);
  std::unique_ptr<Work> all_gather_async(const at::Tensor& send, const std::vector<at::Tensor>& receives);
  std::unique_ptr<Work> reduce_scatter_async(const at::Tensor& send, const at::Tensor& receive,
                                             Reduction reduction = Reduction::sum);
  std::unique_ptr<Work> all_to_all_async(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives);
  std::unique_ptr<Work> barrier_async();

  // Small host values, of equal number on every rank. Collective: every rank calls it.
  std::vector<double> all_reduce_values(const std::vector<double>& values, Reduction reduction);
  std::vector<int64_t> all_reduce_values(const std::vector<int64_t>& values, Reduction reduction);
  // Returns the texts of all ranks in rank order. Collective: every rank calls it.
  std::vector<std::string> all_gather_text(const std::string& text);
  // Returns the text of `root`; the texts of the others are ignored. Collective: every rank calls it.
  std::string broadcast_text(const std::string& text, int root);

  // In debug mode every collective is preceded by a comparison of (sequence number, operation, dtype, counts, root,
  // reduction) across ranks. CommunicationError names the ranks that differ, or that did not come within the time
  // limit. Set it to the same value on every rank.
  void set_debug_mode(bool on) { debug_mode_ = on; }
  bool debug_mode() const { return debug_mode_; }
  // How long a collective may take until CommunicationError ends it, in seconds. It holds wherever this rank waits on a
  // Work, in the comparisons of debug mode and for NCCL's own calls; a large blocking collective over MPI waits inside
  // MPI, without a limit. Throws ArgumentError unless the number is positive.
  void set_timeout(double seconds);
  double timeout_seconds() const { return timeout_seconds_; }
  // The number of collectives called so far, the same on every rank as long as all call the same.
  int64_t num_collectives() const { return sequence_number_; }

  // What a moment on the device's line of communication is measured by, since the host does not see it: an event with a
  // time, complete once everything is that was given to the line so far, and, with `behind_current`, what the current
  // stream of the calling thread holds. Null where collectives of tensors run on the host. Throws CommunicationError.
  virtual std::shared_ptr<c10::Event> mark_time(bool /*behind_current*/) { return nullptr; }

  // Ends every rank of the job with `exit_code`, after writing the message to stderr (threads: makes the
  // collectives of all ranks throw, and throws). Not collective: one rank calls it, in trouble, on any thread.
  [[noreturn]] virtual void abort(int exit_code, const std::string& message) = 0;

 protected:
  Communicator(const RankPlace& place, std::shared_ptr<const RankGroup> group);

  // What a backend implements. Arguments are checked, detached from autograd and hold at least one element in total; in
  // all_gather and all_to_all single tensors may be empty. With async false the caller goes straight to wait(), so the
  // backend may block in the call itself.
  virtual std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction, bool async) = 0;
  virtual std::unique_ptr<Work> start_broadcast(const at::Tensor& tensor, int root, bool async) = 0;
  virtual std::unique_ptr<Work> start_all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                                 bool async) = 0;
  virtual std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& send, const at::Tensor& receive,
                                                     Reduction reduction, bool async) = 0;
  virtual std::unique_ptr<Work> start_all_to_all(const std::vector<at::Tensor>& sends,
                                                 const std::vector<at::Tensor>& receives, bool async) = 0;
  virtual std::unique_ptr<Work> start_barrier() = 0;
  // A communicator of a channel of its own over `members`, ranks of this one in their new order, of which this rank is
  // one; `group` says how messages name them. Collective: every rank calls it, ranks of other groups with theirs.
  virtual std::unique_ptr<Communicator> make_group(const std::shared_ptr<const RankGroup>& group,
                                                   const std::vector<int>& members) = 0;
  // Whether the backend can work on tensors of this device; a message for the ArgumentError if not.
  virtual bool serves(const at::Device& device) const { return device.is_cpu(); }

  // The place of this rank among `members`.
  int index_in(const std::vector<int>& members) const;

 private:
  // argument_checks.cpp
  void check_tensor(const char* operation, const at::Tensor& tensor) const;
  void check_list(const char* operation, const char* which, const std::vector<at::Tensor>& tensors,
                  const at::Tensor& like) const;
  void check_reducible(const char* operation, const at::Tensor& tensor) const;
  void check_root(const char* operation, int root) const;

  // The one way of every collective: keeps other threads out, numbers the call, compares it in debug mode, starts it
  // and tells its Work what it is.
  std::unique_ptr<Work> run(const CollectiveCall& call, const std::function<std::unique_ptr<Work>()>& start);
  void compare_call(const CollectiveCall& call);
  std::unique_ptr<Communicator> over(const char* operation, const std::shared_ptr<const RankGroup>& group,
                                     const std::vector<int>& members);

  // collectives/*.cpp; async false: the Work is complete on return, or wait() completes it.
  std::unique_ptr<Work> all_reduce_impl(const at::Tensor& tensor, Reduction reduction, bool async);
  std::unique_ptr<Work> broadcast_impl(const at::Tensor& tensor, int root, bool async);
  std::unique_ptr<Work> all_gather_impl(const at::Tensor& send, const std::vector<at::Tensor>& receives, bool async);
  std::unique_ptr<Work> reduce_scatter_impl(const at::Tensor& send, const at::Tensor& receive, Reduction reduction,
                                            bool async);
  std::unique_ptr<Work> all_to_all_impl(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives,
                                        bool async);

  const RankPlace place_;
  const std::shared_ptr<const RankGroup> group_;
  bool debug_mode_ = false;
  double timeout_seconds_ = 1800;
  std::atomic<int64_t> sequence_number_ = 0;
  std::atomic<bool> is_in_call_ = false;
};

}  // namespace rosa::parallel
