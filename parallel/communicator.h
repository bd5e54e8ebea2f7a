// Communicator: the collectives of the system over a group of ranks, whatever carries them (one rank, threads, MPI,
// NCCL). Owns the checks of arguments and the small host values; the backends only move and add bytes.
// Knows nothing of models. The ranks of a group call the same collectives in the same order.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace rosa::parallel {

enum class Reduction { sum, max, min };

// The name of a reduction, for messages.
const char* name_of(Reduction reduction);

// A collective that was started. Its tensors must not be read or written before wait() has returned.
// A Work destroyed without wait() leaks its buffers on purpose: the network may still write to them.
class Work {
 public:
  virtual ~Work() = default;

  // Blocks until the collective is complete on this rank; the backend says what that means for a device stream.
  // Throws CommunicationError.
  virtual void wait() = 0;
  // True when wait() would not block. Throws CommunicationError.
  virtual bool is_complete() = 0;
};

// Where a rank stands in its group and on its host.
struct RankPlace {
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;  // among the ranks that share this host's memory
  int local_size = 1;
};

// Tensors are contiguous and of any dtype unless a reduction says otherwise (float32, float64, int32, int64, uint8).
// Every tensor of one call has the same dtype and lies on a device the backend serves; ArgumentError if not.
class Communicator {
 public:
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  int rank() const { return place_.rank; }
  int world_size() const { return place_.world_size; }
  int local_rank() const { return place_.local_rank; }
  int local_size() const { return place_.local_size; }
  // "one rank", "threads", "MPI", "NCCL".
  virtual std::string backend_name() const = 0;

  // Reduces the tensors of all ranks in place; every rank gets the same bits. Collective: every rank calls it.
  // The order of a floating-point sum is the backend's (see TreeReducer for a fixed one).
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

  // Small host values, of equal number on every rank. Collective: every rank calls it.
  std::vector<double> all_reduce_values(const std::vector<double>& values, Reduction reduction);
  std::vector<int64_t> all_reduce_values(const std::vector<int64_t>& values, Reduction reduction);
  // Returns the texts of all ranks in rank order. Collective: every rank calls it.
  std::vector<std::string> all_gather_text(const std::string& text);
  // Returns the text of `root`; the texts of the others are ignored. Collective: every rank calls it.
  std::string broadcast_text(const std::string& text, int root);

  // In debug mode every collective is preceded by a comparison of (sequence number, operation, dtype, count, root)
  // across ranks; CommunicationError names the ranks that differ. Set it to the same value on every rank.
  void set_debug_mode(bool on) { debug_mode_ = on; }

  // Ends every rank of the group with `exit_code`, after writing the message to stderr (threads: makes the
  // collectives of all ranks throw, and throws). Not collective: one rank calls it, in trouble.
  [[noreturn]] virtual void abort(int exit_code, const std::string& message) = 0;

 protected:
  explicit Communicator(const RankPlace& place);

  // The backends. Arguments are checked, detached from autograd and hold at least one element in total, except in
  // all_gather and all_to_all, where single tensors may be empty. With async false the Work is complete on return.
  virtual std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction, bool async) = 0;
  virtual std::unique_ptr<Work> start_broadcast(const at::Tensor& tensor, int root, bool async) = 0;
  virtual std::unique_ptr<Work> start_all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                                 bool async) = 0;
  virtual std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& send, const at::Tensor& receive,
                                                     Reduction reduction, bool async) = 0;
  virtual std::unique_ptr<Work> start_all_to_all(const std::vector<at::Tensor>& sends,
                                                 const std::vector<at::Tensor>& receives, bool async) = 0;
  virtual void run_barrier() = 0;
  // Whether the backend can work on tensors of this device; a message for the ArgumentError if not.
  virtual bool serves(const at::Device& device) const { return device.is_cpu(); }

  // "rank 1 of 4", for messages.
  std::string who() const;

 private:
  void check_tensor(const char* operation, const at::Tensor& tensor) const;
  void check_list(const char* operation, const char* which, const std::vector<at::Tensor>& tensors,
                  const at::Tensor& like) const;
  void check_reducible(const char* operation, const at::Tensor& tensor) const;
  void check_root(const char* operation, int root) const;
  void compare_call(const char* operation, int64_t dtype, int64_t count, int64_t root);

  std::unique_ptr<Work> all_reduce_impl(const at::Tensor& tensor, Reduction reduction, bool async);
  std::unique_ptr<Work> broadcast_impl(const at::Tensor& tensor, int root, bool async);
  std::unique_ptr<Work> all_gather_impl(const at::Tensor& send, const std::vector<at::Tensor>& receives, bool async);
  std::unique_ptr<Work> reduce_scatter_impl(const at::Tensor& send, const at::Tensor& receive, Reduction reduction,
                                            bool async);
  std::unique_ptr<Work> all_to_all_impl(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives,
                                        bool async);

  RankPlace place_;
  bool debug_mode_ = false;
  int64_t sequence_number_ = 0;
};

// The Work of a collective that was complete when it was started.
class CompleteWork final : public Work {
 public:
  void wait() override {}
  bool is_complete() override { return true; }
};

}  // namespace rosa::parallel
