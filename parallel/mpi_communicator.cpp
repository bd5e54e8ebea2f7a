#include "parallel/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <set>

#include "base/printable.h"
#include "parallel/mpi_bfloat16.h"
#include "parallel/mpi_error.h"
#include "parallel/tensor_list.h"

namespace rosa::parallel {
namespace {

using base::concat;
using base::require;

constexpr int kDataTag = 1;

MPI_Datatype mpi_type(at::ScalarType type) {
  if (type == at::kFloat) return MPI_FLOAT;
  if (type == at::kDouble) return MPI_DOUBLE;
  if (type == at::kInt) return MPI_INT32_T;
  if (type == at::kLong) return MPI_INT64_T;
  if (type == at::kBFloat16) return MPI_UINT16_T;  // with operations of its own
  return MPI_UINT8_T;                              // the interface lets no other type through
}

MPI_Op mpi_operation(Reduction reduction, at::ScalarType type) {
  if (type == at::kBFloat16) return bfloat16_operation(reduction);
  if (reduction == Reduction::max) return MPI_MAX;
  if (reduction == Reduction::min) return MPI_MIN;
  return MPI_SUM;
}

std::byte* data_of(const at::Tensor& tensor) { return static_cast<std::byte*>(tensor.data_ptr()); }

int64_t num_bytes(const at::Tensor& tensor) { return tensor.numel() * tensor.element_size(); }

// Requests in flight and the tensors they use.
class MpiWork final : public Work {
 public:
  MpiWork(std::string place, std::vector<at::Tensor> tensors)
      : place_(std::move(place)), tensors_(std::move(tensors)) {}

  ~MpiWork() override {
    const bool pending = std::any_of(requests_.begin(), requests_.end(), is_pending);
    if (pending) new std::vector<at::Tensor>(std::move(tensors_));  // leaked: MPI may still write to them
  }

  // `peer` is the one rank at the other end, where there is one.
  MPI_Request* add_request(int peer = kAllRanks) { return &requests_.emplace_back(MPI_REQUEST_NULL, peer).handle; }

  std::vector<int> pending_ranks() override {
    std::set<int> ranks;
    for (const Request& request : requests_) {
      if (is_pending(request) && request.peer != kAllRanks) ranks.insert(request.peer);
    }
    return {ranks.begin(), ranks.end()};
  }

 protected:
  bool poll() override {
    // Every one, also behind one that is pending, and one by one: MPI_Waitall of Open MPI 4.1 sometimes never returns
    // when one of its requests fails.
    bool complete = true;
    for (Request& request : requests_) {
      int flag = 1;
      if (is_pending(request)) check_mpi(MPI_Test(&request.handle, &flag, MPI_STATUS_IGNORE), "MPI_Test", place_);
      complete = complete && flag != 0;
    }
    if (complete) tensors_.clear();
    return complete;
  }

  bool wait_until(Clock::time_point deadline) override {
    // MPI proceeds only while it is called: no sleeping.
    return poll_until(deadline, std::chrono::microseconds(0), [this] { return poll(); });
  }

 private:
  static constexpr int kAllRanks = -1;

  struct Request {
    Request(MPI_Request request, int rank) : handle(request), peer(rank) {}
    MPI_Request handle;
    int peer;
  };

  static bool is_pending(const Request& request) { return request.handle != MPI_REQUEST_NULL; }

  std::string place_;
  std::vector<at::Tensor> tensors_;
  std::vector<Request> requests_;
};

// A channel of its own over the ranks of `comm` that pass the same color, ordered by key; its errors come back as
// codes. Collective: every rank calls it.
MPI_Comm split_channel(MPI_Comm comm, int color, int key, const std::string& place) {
  MPI_Comm copy = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(comm, color, key, &copy), "MPI_Comm_split", place);
  check_mpi(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", place);
  return copy;
}

// Collective: every rank calls it.
RankPlace find_place(MPI_Comm comm) {
  RankPlace place;
  check_mpi(MPI_Comm_rank(comm, &place.rank), "MPI_Comm_rank", "this process");
  check_mpi(MPI_Comm_size(comm, &place.world_size), "MPI_Comm_size", "this process");
  const std::string who = concat("rank ", place.rank, " of ", place.world_size);
  MPI_Comm local = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, place.rank, MPI_INFO_NULL, &local), "MPI_Comm_split_type",
            who);
  check_mpi(MPI_Comm_rank(local, &place.local_rank), "MPI_Comm_rank", who);
  check_mpi(MPI_Comm_size(local, &place.local_size), "MPI_Comm_size", who);
  place.local_leader = place.rank;
  check_mpi(MPI_Bcast(&place.local_leader, 1, MPI_INT, 0, local), "MPI_Bcast", who);
  check_mpi(MPI_Comm_free(&local), "MPI_Comm_free", who);
  return place;
}

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, std::shared_ptr<const RankGroup> group, int64_t max_message_bytes)
      : Communicator(find_place(comm), std::move(group)),
        comm_(comm),
        max_message_bytes_(max_message_bytes),
        exceptions_at_start_(std::uncaught_exceptions()) {}

  ~MpiCommunicator() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized == 0 && std::uncaught_exceptions() <= exceptions_at_start_) MPI_Comm_free(&comm_);
  }

  std::string backend_name() const override { return "MPI"; }

  [[noreturn]] void abort(int exit_code, const std::string& message) override {
    std::fprintf(stderr, "%s\n", base::printable(message).c_str());
    std::fflush(nullptr);
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 protected:
  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction, bool async) override {
    auto work = make_work({tensor});
    for_each_message(tensor, tensor.element_size(), [&](std::byte* data, int count) {
      const MPI_Datatype type = mpi_type(tensor.scalar_type());
      const MPI_Op operation = mpi_operation(reduction, tensor.scalar_type());
      if (async) {
        check(MPI_Iallreduce(MPI_IN_PLACE, data, count, type, operation, comm_, work->add_request()), "MPI_Iallreduce");
      } else {
        check(MPI_Allreduce(MPI_IN_PLACE, data, count, type, operation, comm_), "MPI_Allreduce");
      }
    });
    return work;
  }

  std::unique_ptr<Work> start_broadcast(const at::Tensor& tensor, int root, bool async) override {
    auto work = make_work({tensor});
    for_each_message(tensor, 1, [&](std::byte* data, int count) {
      if (async) {
        check(MPI_Ibcast(data, count, MPI_BYTE, root, comm_, work->add_request()), "MPI_Ibcast");
      } else {
        check(MPI_Bcast(data, count, MPI_BYTE, root, comm_), "MPI_Bcast");
      }
    });
    return work;
  }

  std::unique_ptr<Work> start_all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                         bool) override {
    return start_exchange(std::vector<at::Tensor>(static_cast<size_t>(world_size()), send), receives);
  }

  std::unique_ptr<Work> start_all_to_all(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives,
                                         bool) override {
    return start_exchange(sends, receives);
  }

  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& send, const at::Tensor& receive, Reduction reduction,
                                             bool async) override {
    auto work = make_work({send, receive});
    const MPI_Datatype type = mpi_type(send.scalar_type());
    const MPI_Op operation = mpi_operation(reduction, send.scalar_type());
    const int64_t part_bytes = num_bytes(receive);
    if (part_bytes <= max_message_bytes_) {
      const int count = static_cast<int>(receive.numel());
      if (async) {
        check(MPI_Ireduce_scatter_block(send.data_ptr(), receive.data_ptr(), count, type, operation, comm_,
                                        work->add_request()),
              "MPI_Ireduce_scatter_block");
      } else {
        check(MPI_Reduce_scatter_block(send.data_ptr(), receive.data_ptr(), count, type, operation, comm_),
              "MPI_Reduce_scatter_block");
      }
      return work;
    }
    // A part too large for one message: each part is reduced to its owner, piece by piece.
    for (int owner = 0; owner < world_size(); ++owner) {
      for_each_message(receive, send.element_size(), [&](std::byte* data, int count) {
        const int64_t offset = data - data_of(receive);
        check(MPI_Ireduce(data_of(send) + owner * part_bytes + offset, data, count, type, operation, owner, comm_,
                          work->add_request()),
              "MPI_Ireduce");
      });
    }
    return work;
  }

  std::unique_ptr<Work> start_barrier() override {
    auto work = make_work({});
    check(MPI_Ibarrier(comm_, work->add_request()), "MPI_Ibarrier");
    return work;
  }

  std::unique_ptr<Communicator> make_group(const std::shared_ptr<const RankGroup>& group,
                                           const std::vector<int>& members) override {
    const MPI_Comm comm = split_channel(comm_, members.front(), index_in(members), who());
    return std::make_unique<MpiCommunicator>(comm, group, max_message_bytes_);
  }

 private:
  void check(int code, const char* call) const { check_mpi(code, call, who()); }

  std::unique_ptr<MpiWork> make_work(std::vector<at::Tensor> tensors) const {
    return std::make_unique<MpiWork>(who(), std::move(tensors));
  }

  // Calls `send(data, count)` for pieces of at most max_message_bytes, counted in units of `unit_bytes`.
  template <class Send>
  void for_each_message(const at::Tensor& tensor, int64_t unit_bytes, const Send& send) const {
    const int64_t total = num_bytes(tensor) / unit_bytes;
    const int64_t at_most = std::max<int64_t>(1, max_message_bytes_ / unit_bytes);
    for (int64_t begin = 0; begin < total; begin += at_most) {
      send(data_of(tensor) + begin * unit_bytes, static_cast<int>(std::min(at_most, total - begin)));
    }
  }

  // Pairwise messages: sizes may differ from pair to pair, and nothing is packed. Messages of one pair keep their
  // order, so that several exchanges may be in flight.
  std::unique_ptr<Work> start_exchange(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives) {
    auto work = make_work(joined(sends, receives));
    for (int step = 1; step < world_size(); ++step) {
      const int from = (rank() + world_size() - step) % world_size();
      for_each_message(receives[static_cast<size_t>(from)], 1, [&](std::byte* data, int count) {
        check(MPI_Irecv(data, count, MPI_BYTE, from, kDataTag, comm_, work->add_request(from)), "MPI_Irecv");
      });
    }
    for (int step = 1; step < world_size(); ++step) {
      const int to = (rank() + step) % world_size();
      for_each_message(sends[static_cast<size_t>(to)], 1, [&](std::byte* data, int count) {
        check(MPI_Isend(data, count, MPI_BYTE, to, kDataTag, comm_, work->add_request(to)), "MPI_Isend");
      });
    }
    const at::Tensor& own = sends[static_cast<size_t>(rank())];
    if (own.numel() > 0) {
      std::memmove(receives[static_cast<size_t>(rank())].data_ptr(), own.data_ptr(),
                   static_cast<size_t>(num_bytes(own)));
    }
    return work;
  }

  MPI_Comm comm_;
  const int64_t max_message_bytes_;
  const int exceptions_at_start_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(const MpiOptions& options) {
  require(options.max_message_bytes >= 8 && options.max_message_bytes <= std::numeric_limits<int>::max(),
          "make_mpi_communicator: got max_message_bytes ", options.max_message_bytes, ", expected 8 to 2^31 - 1");
  int initialized = 0;
  MPI_Initialized(&initialized);
  require<base::CommunicationError>(initialized != 0,
                                    "make_mpi_communicator: MPI is not initialised; make an "
                                    "MpiSession first");
  int rank = 0;
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank", "this process");
  const MPI_Comm comm = split_channel(MPI_COMM_WORLD, 0, rank, "this process");
  return std::make_unique<MpiCommunicator>(comm, std::make_shared<RankGroup>(), options.max_message_bytes);
}

}  // namespace rosa::parallel
