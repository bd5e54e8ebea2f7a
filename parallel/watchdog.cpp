#include "parallel/watchdog.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "base/thread.h"
#include "parallel/heartbeat_channel.h"

namespace rosa::parallel {
namespace {

using base::Activity;
using base::concat;
using base::Phase;
using base::Role;
using Duration = std::chrono::duration<double>;

constexpr double kFrozenAfterHeartbeats = 2.0;  // so that it is told within three
constexpr double kHoldingWindowHeartbeats = 2.0;
constexpr double kHoldingShare = 0.75;
constexpr double kNoLongerHoldingShare = 0.5;
constexpr int kFarewells = 3;  // datagrams may be lost

// Before and after the steps the ranks do different things, for as long as it takes.
bool is_timed(const Activity& activity) {
  return activity.step >= 0 && activity.phase != Phase::starting && activity.phase < Phase::ending;
}

bool same_collective(const Activity& a, const Activity& b) {
  return a.sequence_number == b.sequence_number && std::strcmp(a.collective, b.collective) == 0;
}

std::vector<int> ranks_where(const std::vector<RankView>& ranks, const std::function<bool(const RankView&)>& holds) {
  std::vector<int> found;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    if (!ranks[rank].finished && holds(ranks[rank])) found.push_back(static_cast<int>(rank));
  }
  return found;
}

// All wait and nothing comes: who is behind, or nobody. Only within a group of ranks do numbers tell who is behind.
Diagnosis diagnose_waiting(const std::vector<RankView>& ranks) {
  std::set<std::string> groups;
  for (const RankView& view : ranks) groups.insert(view.activity.group);
  for (const std::string& group : groups) {
    const auto is_in = [&](const RankView& view) { return view.activity.group == group; };
    const std::vector<int> members = ranks_where(ranks, is_in);
    if (members.empty()) continue;
    const auto activity_of = [&](int rank) -> const Activity& { return ranks[static_cast<size_t>(rank)].activity; };
    const Activity& behind = activity_of(*std::min_element(members.begin(), members.end(), [&](int a, int b) {
      return activity_of(a).sequence_number < activity_of(b).sequence_number;
    }));
    const auto late =
        ranks_where(ranks, [&](const RankView& view) { return is_in(view) && same_collective(view.activity, behind); });
    if (late.size() < members.size()) return {Trouble::mismatch, late};
  }
  return {Trouble::blocked, ranks_where(ranks, [](const RankView&) { return true; })};
}

}  // namespace

void describe(base::FieldVisitor& visitor, WatchdogConfig& config) {
  visitor.field("heartbeat_s", config.heartbeat_s, Role::place,
                "seconds between heartbeats; a rank that is killed, frozen or holds the others up is named within "
                "three of them; 0: no watchdog",
                {0.0, 3600.0});
  visitor.field("hang_after_heartbeats", config.hang_after_heartbeats, Role::place,
                "heartbeats without any progress after which a rank hangs and the job is ended", {3, 1000000});
}

void check(base::ConfigProblems& problems, const WatchdogConfig& config) {
  constexpr double kLeastHeartbeat_s = 0.01;
  problems.require(config.heartbeat_s == 0.0 || config.heartbeat_s >= kLeastHeartbeat_s, {"heartbeat_s"}, "is ",
                   config.heartbeat_s, ", expected 0 (no watchdog) or at least ", kLeastHeartbeat_s);
}

Diagnosis diagnose(const std::vector<RankView>& ranks, WatchTime now, const WatchdogConfig& config) {
  const auto silent_for = [&](const RankView& view) { return Duration(now - view.last_heard).count(); };
  const auto idle_for = [&](const RankView& view) { return Duration(now - view.last_progress).count(); };
  const double hang_s = config.heartbeat_s * static_cast<double>(config.hang_after_heartbeats);

  auto found = ranks_where(ranks, [](const RankView& view) { return view.heard && view.gone; });
  if (!found.empty()) return {Trouble::killed, found};
  found = ranks_where(ranks, [&](const RankView& view) {
    return view.heard && silent_for(view) > kFrozenAfterHeartbeats * config.heartbeat_s;
  });
  if (!found.empty()) return {Trouble::frozen, found};
  const auto is_idle = [&](const RankView& view) { return is_timed(view.activity) && idle_for(view) > hang_s; };
  // Also before and after the steps a rank that waits for no other and does nothing at all is blocked for ever.
  found = ranks_where(ranks, [&](const RankView& view) {
    return view.heard && idle_for(view) > hang_s && !view.activity.waits && view.activity.phase != Phase::left;
  });
  if (!found.empty()) return {Trouble::hangs, found};
  const auto others = ranks_where(ranks, [&](const RankView& view) { return !is_idle(view); });
  const auto idle = ranks_where(ranks, is_idle);
  if (!idle.empty() && others.empty()) return diagnose_waiting(ranks);
  found = ranks_where(ranks, [&](const RankView& view) { return view.holding_share >= kHoldingShare; });
  if (!found.empty()) return {Trouble::holds_up, found};
  return {};
}

class Watchdog::Thread {
 public:
  Thread(Communicator& communicator, Options options)
      : options_(std::move(options)),
        channel_(communicator, options_.host_name),
        views_(static_cast<size_t>(communicator.world_size())),
        history_(views_.size()),
        exceptions_at_start_(std::uncaught_exceptions()) {
    const double heartbeat = options_.config.heartbeat_s;
    // Often, so that a lost datagram is no heartbeat lost; but at most some 500 datagrams a second.
    const double at_most_often = std::min(heartbeat / 4, 0.25);
    interval_s_ = std::clamp(channel_.world_size() / 500.0, at_most_often, std::max(at_most_often, heartbeat / 4));
    for (int rank = 0; rank < channel_.world_size(); ++rank) {
      const bool other_process =
          channel_.is_local(rank) && channel_.home(rank).pid != channel_.home(channel_.rank()).pid;
      if (!other_process) continue;
      base::SharedActivity record(channel_.home(rank).pid, channel_.home(rank).activity_descriptor);
      const int64_t num_beats = record.num_beats();
      neighbours_.emplace(rank, Neighbour{std::move(record), num_beats});
    }
    started_ = last_beat_ = Clock::now();
    thread_ = base::start_thread("the watchdog", [this] { run_or_tell(); });
  }

  ~Thread() {
    const bool fails = std::uncaught_exceptions() > exceptions_at_start_;
    if (!job_ends_.exchange(true)) {
      if (!fails) base::note_left(true);
      tell(fails ? MessageKind::failed : MessageKind::finished);
    }
    stopping_ = true;
    thread_.join();
  }

  std::vector<int> local_processes() const {
    std::vector<int> pids;
    for (int rank = 0; rank < channel_.world_size(); ++rank) {
      if (rank != channel_.rank() && channel_.is_local(rank)) pids.push_back(channel_.home(rank).pid);
    }
    return pids;
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Another rank of this host.
  struct Neighbour {
    base::SharedActivity record;
    int64_t num_beats = 0;  // when it was last looked at
  };

  void tell(MessageKind kind) {
    for (int time = 0; time < kFarewells; ++time) channel_.send_to_all(kind, options_.activity());
  }

  // Nobody joins the thread in time to hear of an exception (no memory, say).
  void run_or_tell() {
    try {
      run();
    } catch (const std::exception& error) {
      if (!options_.on_verdict) throw;
      options_.on_verdict(Trouble::none, concat("the watchdog itself failed: ", error.what()));
    }
  }

  void run() {
    channel_.send_to_all(MessageKind::heartbeat, options_.activity());
    while (!stopping_) {
      channel_.wait(static_cast<int>(std::max(1.0, 1000 * interval_s_ / 2)));
      const WatchTime now = Clock::now();
      forgive_own_pause(now);
      listen(now);
      if (Duration(now - last_beat_).count() < interval_s_) continue;
      last_beat_ = now;
      base::note_beat();
      base::note_progress_of_main_thread();
      channel_.send_to_all(MessageKind::heartbeat, options_.activity());
      see(channel_.rank(), options_.activity(), now);
      bear_witness(now);
      note_who_holds_up(now);
      warn_of_unheard(now);
      if (!job_ends_) act(diagnose(views_, now, options_.config), now);
    }
  }

  // A rank that was itself stopped (or its host) knows nothing of the time in between.
  void forgive_own_pause(WatchTime now) {
    if (Duration(now - last_beat_).count() > options_.config.heartbeat_s) {
      for (RankView& view : views_) view.last_heard = view.last_progress = now;
    }
  }

  void see(int rank, const Activity& activity, WatchTime now) {
    RankView& view = views_[static_cast<size_t>(rank)];
    if (!view.heard || activity.progress != view.activity.progress) view.last_progress = now;
    view.heard = true;
    view.gone = false;
    view.last_heard = now;
    view.activity = activity;
  }

  // What a rank of this host did last is known here to the end, and told to the other hosts. Its watchdog's beats are
  // seen here too, so that it is alive also where the host itself loses datagrams.
  void bear_witness(WatchTime now) {
    for (auto& [rank, neighbour] : neighbours_) {
      RankView& view = views_[static_cast<size_t>(rank)];
      const int64_t num_beats = neighbour.record.num_beats();
      const bool beats = std::exchange(neighbour.num_beats, num_beats) != num_beats;
      const bool silent = view.gone || Duration(now - view.last_heard).count() > options_.config.heartbeat_s / 2;
      const auto activity = neighbour.record.read();
      if (!activity || view.finished || (view.heard && !silent)) continue;
      if (neighbour.record.has_left()) {
        view.finished = true;
      } else if (beats) {
        see(rank, *activity, now);
      } else if (view.heard) {
        view.activity = *activity;
        channel_.send_to_all(MessageKind::witness, *activity, rank);
      }
    }
  }

  void listen(WatchTime now) {
    while (const auto message = channel_.receive()) {
      if (message->kind == MessageKind::witness) {
        views_[static_cast<size_t>(message->about)].activity = message->activity;
        continue;
      }
      RankView& view = views_[static_cast<size_t>(message->rank)];
      if (message->kind == MessageKind::heartbeat && view.finished) continue;  // overtaken by the farewell
      see(message->rank, message->activity, now);
      switch (message->kind) {
        case MessageKind::heartbeat:
        case MessageKind::witness:
          break;
        case MessageKind::finished:
          view.finished = true;
          break;
        case MessageKind::failed:
          view.finished = true;
          end_job();
          break;
        case MessageKind::verdict:
          if (!job_ends_) write_stacks(concat("rank ", message->rank, " ends the job"));
          end_job();
          break;
        case MessageKind::trace:
          write_stacks("this rank holds the others up");
          break;
      }
    }
    for (const int rank : channel_.gone()) {
      RankView& view = views_[static_cast<size_t>(rank)];
      // The farewell may still be on its way: it counts when it is said twice.
      if (refused_.insert_or_assign(rank, now).second) continue;
      view.gone = view.heard && !view.finished;
    }
  }

  void end_job() {
    if (!job_ends_.exchange(true) && options_.on_end_of_job) options_.on_end_of_job();
  }

  void write_stacks(const std::string& reason) {
    if (options_.write_stacks) options_.write_stacks(reason);
  }

  void note_who_holds_up(WatchTime now) {
    const auto window = Duration(kHoldingWindowHeartbeats * options_.config.heartbeat_s);
    const bool anyone_waits = std::any_of(views_.begin(), views_.end(), [](const RankView& view) {
      return !view.finished && view.activity.waits && is_timed(view.activity);
    });
    for (size_t rank = 0; rank < views_.size(); ++rank) {
      const Activity& activity = views_[rank].activity;
      const bool holds = anyone_waits && !activity.waits && is_timed(activity) && activity.phase != Phase::saving;
      auto& history = history_[rank];
      history.emplace_back(now, holds);
      while (now - history.front().first > window) history.pop_front();
      const auto count = std::count_if(history.begin(), history.end(), [](const auto& entry) { return entry.second; });
      // Whether it holds the others up is known after a whole window.
      const bool whole = Duration(now - started_) >= window;
      views_[rank].holding_share = whole ? static_cast<double>(count) / static_cast<double>(history.size()) : 0.0;
    }
  }

  void warn_of_unheard(WatchTime now) {
    if (warned_of_unheard_ || Duration(now - started_).count() < 3 * options_.config.heartbeat_s) return;
    warned_of_unheard_ = true;
    std::string ranks;
    for (size_t rank = 0; rank < views_.size(); ++rank) {
      if (!views_[rank].heard && !views_[rank].finished)
        ranks += concat(ranks.empty() ? "" : ", ", who(static_cast<int>(rank)));
    }
    if (ranks.empty() || !options_.on_straggler) return;
    options_.on_straggler(
        concat("no heartbeat has come from ", ranks, ": the watchdog can't see them. Is UDP open between the hosts?"));
  }

  // Lower ranks that can speak do so first.
  int ranks_before_this(WatchTime now) const {
    int count = 0;
    for (int rank = 0; rank < channel_.rank(); ++rank) {
      const RankView& view = views_[static_cast<size_t>(rank)];
      const bool speaks = view.heard && !view.finished && !view.gone &&
                          Duration(now - view.last_heard).count() < options_.config.heartbeat_s * 1.5;
      if (speaks) ++count;
    }
    return count;
  }

  void act(const Diagnosis& diagnosis, WatchTime now) {
    for (auto entry = slow_.begin(); entry != slow_.end();) {
      entry = views_[static_cast<size_t>(*entry)].holding_share < kNoLongerHoldingShare ? slow_.erase(entry) : ++entry;
    }
    if (diagnosis.trouble == Trouble::none) {
      trouble_since_.reset();
      return;
    }
    const int before = ranks_before_this(now);
    if (diagnosis.trouble == Trouble::holds_up) {
      for (const int rank : diagnosis.culprits) {
        // Where a lower rank speaks it is told as well: this one does not tell it again when that rank leaves.
        if (slow_.insert(rank).second && before == 0) tell_straggler(rank, now);
      }
      return;
    }
    if (!trouble_since_) trouble_since_ = now;
    if (Duration(now - *trouble_since_).count() < before * std::max(1.0, options_.config.heartbeat_s)) return;
    job_ends_ = true;
    tell(MessageKind::verdict);
    const std::string text = verdict_text(diagnosis, now);
    write_stacks(text);
    if (options_.on_verdict) options_.on_verdict(diagnosis.trouble, text);
  }

  void tell_straggler(int rank, WatchTime now) {
    const RankView& view = views_[static_cast<size_t>(rank)];
    const std::string text = concat(who(rank), " is slow, the others wait for it: ", base::describe(view.activity),
                                    "; ", Duration(now - view.last_progress).count(), " s in this place");
    if (options_.on_straggler) options_.on_straggler(text);
    if (rank == channel_.rank()) {
      write_stacks(text);
    } else {
      channel_.send(rank, MessageKind::trace, options_.activity());
    }
  }

  // "rank 1 on node2 (process 17)"
  std::string who(int rank) const {
    const RankHome& home = channel_.home(rank);
    return concat("rank ", rank, " on ", home.host_name, " (process ", home.pid, ")");
  }

  std::string verdict_text(const Diagnosis& diagnosis, WatchTime now) const {
    std::string text;
    for (const int rank : diagnosis.culprits) {
      const RankView& view = views_[static_cast<size_t>(rank)];
      const double silent_s = Duration(now - view.last_heard).count(),
                   idle_s = Duration(now - view.last_progress).count();
      text += concat(text.empty() ? "" : "; ", who(rank));
      if (diagnosis.trouble == Trouble::killed) text += " is gone: killed, or ended without a word";
      if (diagnosis.trouble == Trouble::frozen) text += concat(" is frozen: no heartbeat for ", silent_s, " s");
      if (diagnosis.trouble == Trouble::hangs) text += concat(" hangs: no progress for ", idle_s, " s");
      if (diagnosis.trouble == Trouble::mismatch) text += " is behind: the others wait in a later collective";
      if (diagnosis.trouble == Trouble::blocked) text += concat(" waits like all others for ", idle_s, " s");
      text += concat(". It was at ", base::describe(view.activity));
    }
    return text;
  }

  const Options options_;
  HeartbeatChannel channel_;
  std::vector<RankView> views_;
  std::map<int, Neighbour> neighbours_;                          // by rank
  std::vector<std::deque<std::pair<WatchTime, bool>>> history_;  // by rank: whether it held others up, beat by beat
  std::map<int, WatchTime> refused_;                             // ranks that were once said to be gone
  std::set<int> slow_;                                           // stragglers that have been told
  std::optional<WatchTime> trouble_since_;
  const int exceptions_at_start_;
  double interval_s_ = 0.0;
  WatchTime started_, last_beat_;
  bool warned_of_unheard_ = false;
  std::atomic<bool> job_ends_{false}, stopping_{false};
  std::thread thread_;
};

Watchdog::Watchdog(Communicator& communicator, Options options) {
  // Before the ranks meet in the channel: none sees that this one left an earlier watchdog.
  base::note_left(false);
  thread_ = std::make_unique<Thread>(communicator, std::move(options));
}

Watchdog::~Watchdog() = default;

std::vector<int> Watchdog::local_processes() const { return thread_->local_processes(); }

}  // namespace rosa::parallel
