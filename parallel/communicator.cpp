#include "parallel/communicator.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <sstream>

#include "base/activity.h"

namespace rosa::parallel {

using base::CommunicationError;
using base::concat;
using base::require;

Communicator::Communicator(const RankPlace& place, std::shared_ptr<const RankGroup> group)
    : place_(place), group_(std::move(group)) {
  require(place.world_size >= 1 && place.rank >= 0 && place.rank < place.world_size, "Communicator: got rank ",
          place.rank, " of ", place.world_size, ", expected 0 <= rank < world size");
}

std::string Communicator::who() const {
  if (group_->name.empty()) return concat("rank ", rank(), " of ", world_size());
  return concat("rank ", group_->world_rank(rank()), " (", rank(), " of ", world_size(), " in group ", group_->name,
                ")");
}

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
  const base::CollectiveScope scope(call.operation, sequence_number_, group_->name.c_str());
  if (debug_mode_) compare_call(call);
  std::unique_ptr<Work> work = start();
  work->place_ = who();
  work->group_ = group_;
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
                                    missing.empty() ? "not all ranks" : group_->ranks_text(missing) + " called none",
                                    " within ", timeout_seconds_, " s. Every rank must call the same collectives"));
  }
  std::vector<std::vector<int64_t>> calls;
  const int64_t* data = all.data_ptr<int64_t>();
  for (int other = 0; other < world_size(); ++other)
    calls.emplace_back(data + other * length, data + (other + 1) * length);
  const std::string difference = find_difference(calls, *group_);
  require<CommunicationError>(difference.empty(), "the ranks", group_->of_group(),
                              " called different collectives: ", difference,
                              ". Every rank must call the same collectives in the same order (seen on ", who(), ")");
}

int Communicator::index_in(const std::vector<int>& members) const {
  return static_cast<int>(std::find(members.begin(), members.end(), rank()) - members.begin());
}

std::unique_ptr<Communicator> Communicator::over(const char* operation, const std::shared_ptr<const RankGroup>& group,
                                                 const std::vector<int>& members) {
  std::unique_ptr<Communicator> made;
  run({.operation = operation}, [&]() -> std::unique_ptr<Work> {
    made = make_group(group, members);
    return std::make_unique<CompleteWork>();
  });
  made->set_timeout(timeout_seconds_);
  made->set_debug_mode(debug_mode_);
  return made;
}

std::unique_ptr<Communicator> Communicator::duplicate() {
  std::vector<int> all(static_cast<size_t>(world_size()));
  std::iota(all.begin(), all.end(), 0);
  return over("duplicate", group_, all);
}

std::unique_ptr<Communicator> Communicator::split(int color, int key, const std::string& name) {
  std::map<std::string, int> color_of;
  std::vector<std::pair<int, int>> members;  // key and rank
  std::string problem;
  const std::vector<std::string> all = all_gather_text(concat(color, ' ', key, ' ', name));
  for (int other = 0; other < world_size(); ++other) {
    std::istringstream text(all[static_cast<size_t>(other)]);
    int its_color = 0, its_key = 0;
    std::string its_name;
    text >> its_color >> its_key;
    std::getline(text.ignore(), its_name);
    const auto known = color_of.emplace(its_name, its_color).first;
    if (its_color < 0 || its_name.empty() || known->second != its_color)
      problem = concat(group_->ranks_text({other}), " came with color ", its_color, " and the name '", its_name, "'");
    if (its_color != color) continue;
    if (its_name != name) problem = concat("color ", color, " has the names '", name, "' and '", its_name, "'");
    members.emplace_back(its_key, other);
  }
  // Every rank is told: one that threw alone would leave the others waiting.
  const std::vector<std::string> problems = all_gather_text(problem);
  for (const std::string& found : problems) {
    require(found.empty(), "split on ", who(), ": ", found,
            "; expected a color of 0 or more, and one name for each color, given by all of its ranks");
  }
  std::stable_sort(members.begin(), members.end());
  std::vector<int> ranks;
  auto group = std::make_shared<RankGroup>(RankGroup{name, {}});
  for (const auto& [member_key, member] : members) {
    ranks.push_back(member);
    group->world_ranks.push_back(group_->world_rank(member));
  }
  return over("split", group, ranks);
}

}  // namespace rosa::parallel
