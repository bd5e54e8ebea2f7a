#include "parallel/thread_communicator.h"

#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

namespace rosa::parallel {
namespace {

using base::CommunicationError;
using base::concat;

// What one rank brings to a collective.
struct Part {
  const char* operation = nullptr;
  std::vector<at::Tensor> sends;
  std::vector<at::Tensor> receives;
  int root = 0;
  Reduction reduction = Reduction::sum;
  std::shared_ptr<const RankGroup> group = {};  // of a new group, with its members
  std::vector<int> members = {};
};

class Group;

// One collective: the ranks leave their parts, the last to come does the work.
struct Meeting {
  std::vector<Part> parts;
  std::vector<bool> has_arrived;
  bool done = false;
  std::string error;
  std::map<std::vector<int>, std::shared_ptr<Group>> groups;  // made by "make_group", by their members
};

// What a group shares with those made from it: an abort ends the collectives of all.
struct Family {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_aborted = false;
  std::string abort_message;
};

void copy_elements(const at::Tensor& from, const at::Tensor& to) { to.view({-1}).copy_(from.view({-1})); }

void accumulate(const at::Tensor& into, const at::Tensor& more, Reduction reduction) {
  if (reduction == Reduction::sum) into.add_(more);
  if (reduction == Reduction::max) into.copy_(at::maximum(into, more));
  if (reduction == Reduction::min) into.copy_(at::minimum(into, more));
}

at::Tensor reduce(const std::vector<Part>& parts) {
  const at::Tensor result = parts[0].sends[0].view({-1}).clone();
  for (size_t other = 1; other < parts.size(); ++other) {
    accumulate(result, parts[other].sends[0].view({-1}), parts[0].reduction);
  }
  return result;
}

// Throws CommunicationError unless the parts belong to the same collective.
void check_parts(const std::vector<Part>& parts, const RankGroup& group) {
  const std::string operation = parts[0].operation;
  for (size_t other = 1; other < parts.size(); ++other) {
    base::require<CommunicationError>(parts[other].operation == operation, "the ranks", group.of_group(),
                                      " called different collectives: rank ", group.world_rank(0), " called ",
                                      operation, ", rank ", group.world_rank(static_cast<int>(other)), " called ",
                                      parts[other].operation);
    base::require<CommunicationError>(
        parts[other].root == parts[0].root && parts[other].reduction == parts[0].reduction, operation, group.of_group(),
        ": ", group.ranks_text({0, static_cast<int>(other)}), " differ in the root or the reduction");
  }
}

void check_pair(const char* operation, const RankGroup& group, size_t sender, const at::Tensor& send, size_t receiver,
                const at::Tensor& receive) {
  base::require<CommunicationError>(send.scalar_type() == receive.scalar_type() && send.numel() == receive.numel(),
                                    operation, group.of_group(), ": rank ", group.world_rank(static_cast<int>(sender)),
                                    " sends ", send.numel(), " elements of ", c10::toString(send.scalar_type()),
                                    " to rank ", group.world_rank(static_cast<int>(receiver)), ", which expects ",
                                    receive.numel(), " of ", c10::toString(receive.scalar_type()));
}

void exchange(const std::vector<Part>& parts, const RankGroup& group, bool same_to_all) {
  for (size_t to = 0; to < parts.size(); ++to) {
    for (size_t from = 0; from < parts.size(); ++from) {
      const at::Tensor& send = parts[from].sends[same_to_all ? 0 : to];
      check_pair(parts[0].operation, group, from, send, to, parts[to].receives[from]);
      copy_elements(send, parts[to].receives[from]);
    }
  }
}

void carry_out(const std::vector<Part>& parts, const RankGroup& group) {
  check_parts(parts, group);
  const std::string operation = parts[0].operation;
  if (operation == "barrier" || operation == "make_group") return;
  if (operation == "all_gather") return exchange(parts, group, true);
  if (operation == "all_to_all") return exchange(parts, group, false);
  for (size_t other = 1; other < parts.size(); ++other) {
    check_pair(parts[0].operation, group, other, parts[other].sends[0], 0, parts[0].sends[0]);
  }
  if (operation == "broadcast") {
    const size_t root = static_cast<size_t>(parts[0].root);
    for (size_t other = 0; other < parts.size(); ++other) {
      if (other != root) copy_elements(parts[root].sends[0], parts[other].sends[0]);
    }
    return;
  }
  const at::Tensor result = reduce(parts);
  const std::vector<at::Tensor> slices = result.chunk(static_cast<int64_t>(parts.size()));
  for (size_t other = 0; other < parts.size(); ++other) {
    if (operation == "all_reduce") copy_elements(result, parts[other].sends[0]);
    if (operation == "reduce_scatter") copy_elements(slices[other], parts[other].receives[0]);
  }
}

// What the ranks of one group share.
class Group {
 public:
  Group(int num_ranks, std::shared_ptr<const RankGroup> names, std::shared_ptr<Family> family)
      : num_ranks_(num_ranks), names_(std::move(names)), family_(std::move(family)) {}

  int num_ranks() const { return num_ranks_; }
  const std::shared_ptr<const RankGroup>& names() const { return names_; }

  std::shared_ptr<Meeting> arrive(int64_t sequence_number, int rank, Part part) {
    const size_t index = static_cast<size_t>(rank);
    std::shared_ptr<Meeting> meeting;
    {
      const std::lock_guard lock(family_->mutex);
      throw_if_aborted();
      std::shared_ptr<Meeting>& entry = meetings_[sequence_number];
      if (!entry) {
        entry = std::make_shared<Meeting>();
        entry->parts.resize(static_cast<size_t>(num_ranks_));
        entry->has_arrived.resize(static_cast<size_t>(num_ranks_));
      }
      meeting = entry;
      meeting->parts[index] = std::move(part);
      meeting->has_arrived[index] = true;
      if (!pending_ranks_unlocked(*meeting).empty()) return meeting;
      meetings_.erase(sequence_number);
    }
    std::string error;
    try {
      carry_out(meeting->parts, *names_);
    } catch (const std::exception& exception) {
      error = exception.what();
    }
    const std::lock_guard lock(family_->mutex);
    for (const Part& own : meeting->parts) {
      std::shared_ptr<Group>& made = meeting->groups[own.members];
      if (!own.members.empty() && !made)
        made = std::make_shared<Group>(static_cast<int>(own.members.size()), own.group, family_);
    }
    meeting->parts.clear();
    meeting->error = error;
    meeting->done = true;
    family_->changed.notify_all();
    return meeting;
  }

  // False when the deadline has passed.
  bool wait_until(const Meeting& meeting, Work::Clock::time_point deadline) {
    std::unique_lock lock(family_->mutex);
    family_->changed.wait_until(lock, deadline, [&] { return meeting.done || family_->is_aborted; });
    if (!meeting.done) throw_if_aborted();
    if (!meeting.error.empty()) throw CommunicationError(meeting.error);
    return meeting.done;
  }

  bool is_complete(const Meeting& meeting) {
    const std::lock_guard lock(family_->mutex);
    if (!meeting.done) throw_if_aborted();
    return meeting.done;
  }

  std::vector<int> pending_ranks(const Meeting& meeting) {
    const std::lock_guard lock(family_->mutex);
    return pending_ranks_unlocked(meeting);
  }

  void abort(const std::string& message) {
    const std::lock_guard lock(family_->mutex);
    if (!family_->is_aborted) family_->abort_message = message;
    family_->is_aborted = true;
    family_->changed.notify_all();
  }

 private:
  static std::vector<int> pending_ranks_unlocked(const Meeting& meeting) {
    std::vector<int> ranks;
    for (size_t rank = 0; rank < meeting.has_arrived.size(); ++rank) {
      if (!meeting.has_arrived[rank]) ranks.push_back(static_cast<int>(rank));
    }
    return ranks;
  }

  void throw_if_aborted() const {
    if (family_->is_aborted) throw CommunicationError("the group was aborted: " + family_->abort_message);
  }

  const int num_ranks_;
  const std::shared_ptr<const RankGroup> names_;
  const std::shared_ptr<Family> family_;
  std::map<int64_t, std::shared_ptr<Meeting>> meetings_;
};

class ThreadWork final : public Work {
 public:
  ThreadWork(std::shared_ptr<Group> group, std::shared_ptr<Meeting> meeting)
      : group_(std::move(group)), meeting_(std::move(meeting)) {}

  std::vector<int> pending_ranks() override { return group_->pending_ranks(*meeting_); }
  const std::shared_ptr<Group>& group_of(const std::vector<int>& members) const { return meeting_->groups.at(members); }

  bool poll() override { return group_->is_complete(*meeting_); }
  bool wait_until(Clock::time_point deadline) override { return group_->wait_until(*meeting_, deadline); }

 private:
  std::shared_ptr<Group> group_;
  std::shared_ptr<Meeting> meeting_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Group> group, int rank)
      : Communicator({rank, group->num_ranks(), rank, group->num_ranks()}, group->names()), shared_(std::move(group)) {}

  std::string backend_name() const override { return "threads"; }

  [[noreturn]] void abort(int exit_code, const std::string& message) override {
    const std::string text = concat(who(), " aborts with exit code ", exit_code, ": ", message);
    shared_->abort(text);
    throw CommunicationError(text);
  }

 protected:
  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction, bool) override {
    return start({"all_reduce", {tensor}, {}, 0, reduction});
  }
  std::unique_ptr<Work> start_broadcast(const at::Tensor& tensor, int root, bool) override {
    return start({"broadcast", {tensor}, {}, root});
  }
  std::unique_ptr<Work> start_all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                         bool) override {
    return start({"all_gather", {send}, receives});
  }
  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& send, const at::Tensor& receive, Reduction reduction,
                                             bool) override {
    return start({"reduce_scatter", {send}, {receive}, 0, reduction});
  }
  std::unique_ptr<Work> start_all_to_all(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives,
                                         bool) override {
    return start({"all_to_all", sends, receives});
  }
  std::unique_ptr<Work> start_barrier() override { return start({"barrier", {}, {}}); }
  std::unique_ptr<Communicator> make_group(const std::shared_ptr<const RankGroup>& names,
                                           const std::vector<int>& members) override {
    const std::unique_ptr<ThreadWork> work = start({.operation = "make_group",
                                                    .sends = {},
                                                    .receives = {},
                                                    .root = 0,
                                                    .reduction = Reduction::sum,
                                                    .group = names,
                                                    .members = members});
    if (!work->wait_until(deadline_after(timeout_seconds()))) {
      throw CommunicationError(concat("a new group on ", who(), ": ", group().ranks_text(work->pending_ranks()),
                                      " did not come within ", timeout_seconds(), " s"));
    }
    return std::make_unique<ThreadCommunicator>(work->group_of(members), index_in(members));
  }

 private:
  std::unique_ptr<ThreadWork> start(Part part) {
    return std::make_unique<ThreadWork>(shared_, shared_->arrive(num_calls_++, rank(), std::move(part)));
  }

  std::shared_ptr<Group> shared_;
  int64_t num_calls_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int num_ranks) {
  base::require(num_ranks >= 1, "make_thread_communicators: got ", num_ranks, " ranks, expected at least 1");
  const auto group = std::make_shared<Group>(num_ranks, std::make_shared<RankGroup>(), std::make_shared<Family>());
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int rank = 0; rank < num_ranks; ++rank) {
    communicators.push_back(std::make_unique<ThreadCommunicator>(group, rank));
  }
  return communicators;
}

void run_on_thread_ranks(int num_ranks, const std::function<void(Communicator&)>& body) {
  const auto communicators = make_thread_communicators(num_ranks);
  std::mutex mutex;
  std::exception_ptr first_error;
  std::vector<std::thread> threads;
  for (const auto& communicator : communicators) {
    threads.emplace_back([&, rank = communicator.get()] {
      try {
        body(*rank);
      } catch (const std::exception& exception) {
        {
          const std::lock_guard lock(mutex);
          if (!first_error) first_error = std::current_exception();
        }
        try {
          rank->abort(1, exception.what());
        } catch (const CommunicationError&) {
          // The others have been told; the first error is thrown below.
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (first_error) std::rethrow_exception(first_error);
}

}  // namespace rosa::parallel
