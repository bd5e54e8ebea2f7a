// The last rank makes a mistake in debug mode: every rank must get an error that names it, and none may hang.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "communicator_checks.h"

namespace rosa::parallel {
namespace {

using testing::HasSubstr;

using Call = std::function<void(Communicator&)>;

struct Misuse {
  Call usual;  // what all ranks call but the last
  Call odd;    // what the last calls
  std::vector<std::string> texts;
};

// Long enough that no rank of a busy machine is late; only the ranks that wait for one that never comes spend it.
constexpr double kTimeLimitSeconds = 3;

at::Tensor ones(const Communicator& communicator, int64_t size, at::ScalarType type = at::kFloat) {
  return at::ones({size}, type).to(communicator.device());
}

std::vector<at::Tensor> ones_for_each(const Communicator& communicator, int64_t size) {
  return std::vector<at::Tensor>(static_cast<size_t>(communicator.world_size()), ones(communicator, size));
}

// `called`: whether the message says what the odd rank called (with pairs it says what it sends).
void run_misuse(Communicator& communicator, const Misuse& misuse) {
  if (communicator.world_size() == 1) return;
  communicator.set_debug_mode(true);
  communicator.all_reduce(ones(communicator, 3));
  const bool is_odd = communicator.rank() == communicator.world_size() - 1;
  try {
    (is_odd ? misuse.odd : misuse.usual)(communicator);
    ADD_FAILURE() << "the ranks differ, and nobody said so";
  } catch (const base::CommunicationError& error) {
    for (const std::string& text : misuse.texts) EXPECT_THAT(error.what(), HasSubstr(text));
  }
  // The comparison itself was complete, so that the ranks are still in step.
  communicator.all_reduce(ones(communicator, 3));
  communicator.set_debug_mode(false);
}

std::string odd_rank_called(const Communicator& communicator, const std::string& call) {
  return base::concat("rank ", communicator.world_size() - 1, " called ", call);
}

void check_correct_calls(Communicator& communicator) {
  communicator.set_debug_mode(true);
  const at::Tensor sum = ones(communicator, 7);
  const auto work = communicator.all_reduce_async(sum);
  communicator.barrier();
  communicator.broadcast(sum, communicator.world_size() - 1);
  communicator.all_gather(ones(communicator, 2));
  communicator.all_to_all(ones_for_each(communicator, 2), ones_for_each(communicator, 2));
  communicator.reduce_scatter(ones(communicator, 2 * communicator.world_size()));
  communicator.all_gather_text(std::string(static_cast<size_t>(communicator.rank()), 'x'));
  work->wait();
  communicator.set_debug_mode(false);
}

void check_other_operation(Communicator& communicator) {
  run_misuse(communicator,
             {[](Communicator& c) { c.all_reduce(ones(c, 4)); },
              [](Communicator& c) { c.barrier(); },
              {odd_rank_called(communicator, "barrier as collective"), "called all_reduce of Float, 4 elements, sum"}});
}

void check_other_count(Communicator& communicator) {
  for (const bool async : {false, true}) {
    run_misuse(communicator,
               {[async](Communicator& c) { async ? c.all_reduce_async(ones(c, 4))->wait() : c.all_reduce(ones(c, 4)); },
                [async](Communicator& c) { async ? c.all_reduce_async(ones(c, 5))->wait() : c.all_reduce(ones(c, 5)); },
                {odd_rank_called(communicator, "all_reduce of Float, 5 elements"), "all_reduce of Float, 4 elements"}});
  }
  run_misuse(communicator, {[](Communicator& c) { c.broadcast(ones(c, 4), 0); },
                            [](Communicator& c) { c.broadcast(ones(c, 0), 0); },
                            {odd_rank_called(communicator, "broadcast of Float, 0 elements")}});
  run_misuse(communicator, {[](Communicator& c) { c.reduce_scatter(ones(c, 4 * c.world_size())); },
                            [](Communicator& c) { c.reduce_scatter(ones(c, 2 * c.world_size())); },
                            {odd_rank_called(communicator, "reduce_scatter of Float")}});
  run_misuse(communicator, {[](Communicator& c) {
                              c.all_reduce_values(std::vector<double>{1, 2}, Reduction::sum);
                            },
                            [](Communicator& c) { c.all_reduce_values(std::vector<double>{1}, Reduction::sum); },
                            {odd_rank_called(communicator, "all_reduce of Double, 1 elements")}});
}

void check_other_count_of_a_pair(Communicator& communicator) {
  const std::string pair =
      base::concat("rank 0 sends 4 elements to rank ", communicator.world_size() - 1, ", which expects 6");
  run_misuse(
      communicator,
      {[](Communicator& c) { c.all_gather(ones(c, 4)); }, [](Communicator& c) { c.all_gather(ones(c, 6)); }, {pair}});
  run_misuse(communicator, {[](Communicator& c) { c.all_to_all(ones_for_each(c, 4), ones_for_each(c, 4)); },
                            [](Communicator& c) { c.all_to_all(ones_for_each(c, 6), ones_for_each(c, 6)); },
                            {pair}});
}

void check_other_type_root_and_reduction(Communicator& communicator) {
  run_misuse(communicator, {[](Communicator& c) { c.all_reduce(ones(c, 4)); },
                            [](Communicator& c) { c.all_reduce(ones(c, 4, at::kInt)); },
                            {odd_rank_called(communicator, "all_reduce of Int")}});
  run_misuse(communicator, {[](Communicator& c) { c.all_reduce(ones(c, 4)); },
                            [](Communicator& c) { c.all_reduce(ones(c, 4), Reduction::max); },
                            {odd_rank_called(communicator, "all_reduce of Float, 4 elements, max")}});
  run_misuse(communicator, {[](Communicator& c) { c.broadcast(ones(c, 4), 0); },
                            [](Communicator& c) { c.broadcast(ones(c, 4), 1); },
                            {odd_rank_called(communicator, "broadcast of Float, 4 elements, root 1")}});
}

void check_other_order(Communicator& communicator) {
  const Call one = [](Communicator& c) { c.broadcast(ones(c, 4), 0); };
  const Call two = [](Communicator& c) { c.all_gather(ones(c, 4)); };
  run_misuse(communicator, {[&](Communicator& c) { one(c), two(c); },
                            [&](Communicator& c) { two(c), one(c); },
                            {odd_rank_called(communicator, "all_gather"), "called broadcast"}});
}

// In a group the message tells its name and the ranks' numbers in the job, and the ranks of other groups hear nothing.
void check_misuse_in_a_group(Communicator& communicator) {
  if (communicator.world_size() < 3) return;
  const int last = communicator.world_size() - 1;
  const bool is_in = communicator.rank() >= last - 1;
  const auto group = communicator.split(is_in ? 1 : 0, 0, is_in ? "the last two" : "the others");
  group->set_debug_mode(true);
  if (is_in) {
    try {
      if (communicator.rank() == last) group->barrier();
      if (communicator.rank() != last) group->all_reduce(ones(communicator, 4));
      ADD_FAILURE() << "the ranks differ, and nobody said so";
    } catch (const base::CommunicationError& error) {
      EXPECT_THAT(error.what(), HasSubstr("the ranks of group the last two called different collectives"));
      EXPECT_THAT(error.what(), HasSubstr(odd_rank_called(communicator, "barrier")));
      EXPECT_THAT(error.what(), HasSubstr(base::concat("but rank ", last - 1, " called all_reduce")));
    }
  } else {
    for (int repeat = 0; repeat < 5; ++repeat) group->all_reduce(ones(communicator, 2));
  }
  group->barrier();
  communicator.barrier();
}

// A rank that does not come is told by its number in the job.
void check_late_rank_of_a_group(Communicator& communicator) {
  if (communicator.world_size() < 3) return;
  const int last = communicator.world_size() - 1;
  const bool is_in = communicator.rank() > 0;
  const auto group = communicator.split(is_in ? 1 : 0, 0, is_in ? "all but the first" : "the first");
  group->set_debug_mode(true);
  group->set_timeout(kTimeLimitSeconds);
  if (is_in && communicator.rank() != last) {
    try {
      group->all_reduce(ones(communicator, 4));
      ADD_FAILURE() << "a rank did not come, and nobody said so";
    } catch (const base::CommunicationError& error) {
      EXPECT_THAT(error.what(), HasSubstr(base::concat("rank ", communicator.rank(), " (")));
      EXPECT_THAT(error.what(), HasSubstr("in group all but the first)"));
      EXPECT_THAT(error.what(), HasSubstr(base::concat("but rank ", last, " called none")));
    }
  }
  communicator.barrier();
}

// The last rank goes on without the collective. On a duplicate, since nothing brings the ranks in step again.
void check_skipped_collective(Communicator& communicator) {
  if (communicator.world_size() == 1) return;
  const std::unique_ptr<Communicator> group = communicator.duplicate();
  group->set_debug_mode(true);
  group->set_timeout(kTimeLimitSeconds);
  const bool is_odd = communicator.rank() == communicator.world_size() - 1;
  group->all_reduce(ones(communicator, 3));
  communicator.barrier();
  if (!is_odd) {
    try {
      group->all_reduce(ones(communicator, 3));
      ADD_FAILURE() << "a rank is missing, and nobody said so";
    } catch (const base::CommunicationError& error) {
      EXPECT_THAT(error.what(), HasSubstr("called all_reduce of Float, 3 elements, sum as collective 2"));
      EXPECT_THAT(error.what(), HasSubstr(base::concat("but rank ", communicator.world_size() - 1, " called none")));
    }
  }
  communicator.barrier();
}

// Without debug mode the wait for an async collective ends too.
void check_skipped_async_collective(Communicator& communicator) {
  if (communicator.world_size() == 1) return;
  const std::unique_ptr<Communicator> group = communicator.duplicate();
  group->set_timeout(kTimeLimitSeconds);
  const bool is_odd = communicator.rank() == communicator.world_size() - 1;
  communicator.barrier();
  if (!is_odd) {
    const auto receives = ones_for_each(communicator, 3);
    const auto work = group->all_gather_async(ones(communicator, 3), receives);
    try {
      work->wait();
      ADD_FAILURE() << "a rank is missing, and nobody said so";
    } catch (const base::CommunicationError& error) {
      EXPECT_THAT(error.what(), HasSubstr("all_gather (collective 1)"));
      EXPECT_THAT(error.what(), HasSubstr("did not end within"));
    }
  }
  communicator.barrier();
}

}  // namespace

const std::vector<CommunicatorCheck>& misuse_checks() {
  static const std::vector<CommunicatorCheck> kChecks = {
      {"correct_calls", check_correct_calls},
      {"other_operation", check_other_operation},
      {"other_count", check_other_count},
      {"other_count_of_a_pair", check_other_count_of_a_pair},
      {"other_type_root_and_reduction", check_other_type_root_and_reduction},
      {"other_order", check_other_order},
      {"misuse_in_a_group", check_misuse_in_a_group},
      {"late_rank_of_a_group", check_late_rank_of_a_group},
      {"skipped_collective", check_skipped_collective},
      {"skipped_async_collective", check_skipped_async_collective},
  };
  return kChecks;
}

}  // namespace rosa::parallel
