#include "parallel/communicator.h"

#include <algorithm>

#include "base/activity.h"

namespace rosa::parallel {

using base::CommunicationError;
using base::concat;
using base::require;

Communicator::Communicator(const RankPlace& place) : place_(place) {
  require(place.world_size >= 1 && place.rank >= 0 && place.rank < place.world_size, "Communicator: got rank ",
          place.rank, " of ", place.world_size, ", expected 0 <= rank < world size");
}

std::string Communicator::who() const { return concat("rank ", rank(), " of ", world_size()); }

void Communicator::set_timeout(double seconds) {
  require(seconds > 0, "Communicator::set_timeout: got ", seconds, " s, expected a positive number");
  timeout_seconds_ = seconds;
}

namespace {

// Two threads in one communicator: neither order of their calls would be that of the other ranks.
class OnlyThread {
 public:
  OnlyThread(std::atomic<bool>& is_in_call, const char* operation, const std::string& who) : is_in_call_(is_in_call) {
    require<CommunicationError>(!is_in_call_.exchange(true), operation, " on ", who,
                                ": another thread is in a collective of the same communicator; give each thread its "
                                "own, from Communicator::duplicate()");
  }
  ~OnlyThread() { is_in_call_ = false; }
  OnlyThread(const OnlyThread&) = delete;
  OnlyThread& operator=(const OnlyThread&) = delete;

 private:
  std::atomic<bool>& is_in_call_;
};

}  // namespace

std::unique_ptr<Work> Communicator::run(const CollectiveCall& call,
                                        const std::function<std::unique_ptr<Work>()>& start) {
  const OnlyThread only(is_in_call_, call.operation, who());
  ++sequence_number_;
  const base::CollectiveScope scope(call.operation, sequence_number_);
  if (debug_mode_) compare_call(call);
  std::unique_ptr<Work> work = start();
  work->place_ = who();
  work->operation_ = call.operation;
  work->sequence_number_ = sequence_number_;
  work->timeout_seconds_ = timeout_seconds_;
  return work;
}

void Communicator::compare_call(const CollectiveCall& call) {
  const std::vector<int64_t> mine = encode(call, sequence_number_, world_size());
  const int64_t length = static_cast<int64_t>(mine.size());
  const at::Tensor send = at::empty({length}, at::kLong);
  std::copy(mine.begin(), mine.end(), send.data_ptr<int64_t>());
  const at::Tensor all = at::zeros({world_size(), length}, at::kLong);
  const std::unique_ptr<Work> work = start_all_gather(send, all.unbind(0), /*async=*/true);
  if (!work->wait_until(deadline_after(timeout_seconds_))) {
    const std::vector<int> missing = work->pending_ranks();
    throw CommunicationError(concat(who(), " called ", describe(call), " as collective ", sequence_number_, ", but ",
                                    missing.empty() ? "not all ranks" : ranks_text(missing) + " called none",
                                    " within ", timeout_seconds_, " s. Every rank must call the same collectives"));
  }
  std::vector<std::vector<int64_t>> calls;
  const int64_t* data = all.data_ptr<int64_t>();
  for (int other = 0; other < world_size(); ++other)
    calls.emplace_back(data + other * length, data + (other + 1) * length);
  const std::string difference = find_difference(calls);
  require<CommunicationError>(difference.empty(), "the ranks called different collectives: ", difference,
                              ". Every rank must call the same collectives in the same order (seen on ", who(), ")");
}

std::unique_ptr<Communicator> Communicator::duplicate() {
  std::unique_ptr<Communicator> copy;
  run({.operation = "duplicate"}, [&]() -> std::unique_ptr<Work> {
    copy = make_duplicate();
    return std::make_unique<CompleteWork>();
  });
  copy->set_timeout(timeout_seconds_);
  copy->set_debug_mode(debug_mode_);
  return copy;
}

}  // namespace rosa::parallel
