// The common suite over one rank and over threads, and what only threads can show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "communicator_checks.h"
#include "parallel/single_communicator.h"
#include "parallel/thread_communicator.h"
#include "reducer_checks.h"

namespace rosa::parallel {
namespace {

using testing::HasSubstr;

std::vector<CommunicatorCheck> all_checks() {
  std::vector<CommunicatorCheck> checks = communicator_checks();
  checks.insert(checks.end(), misuse_checks().begin(), misuse_checks().end());
  checks.insert(checks.end(), reducer_checks().begin(), reducer_checks().end());
  return checks;
}

class EveryCommunicator : public testing::TestWithParam<CommunicatorCheck> {};

TEST_P(EveryCommunicator, OneRank) { GetParam().run(*make_single_communicator()); }
TEST_P(EveryCommunicator, OneThread) { run_on_thread_ranks(1, GetParam().run); }
TEST_P(EveryCommunicator, TwoThreads) { run_on_thread_ranks(2, GetParam().run); }
TEST_P(EveryCommunicator, ThreeThreads) { run_on_thread_ranks(3, GetParam().run); }
TEST_P(EveryCommunicator, FourThreads) { run_on_thread_ranks(4, GetParam().run); }

INSTANTIATE_TEST_SUITE_P(Checks, EveryCommunicator, testing::ValuesIn(all_checks()),
                         [](const auto& test) { return test.param.name; });

TEST(ThreadCommunicator, OneRankThatThrowsEndsAll) {
  try {
    run_on_thread_ranks(3, [](Communicator& communicator) {
      if (communicator.rank() == 1) throw base::DataError("token file is damaged");
      communicator.barrier();
    });
    FAIL() << "expected the error of rank 1";
  } catch (const base::DataError& error) {
    EXPECT_STREQ(error.what(), "token file is damaged");
  }
}

TEST(ThreadCommunicator, NamesWhatDiffers) {
  try {
    run_on_thread_ranks(2, [](Communicator& communicator) {
      const at::Tensor tensor = at::ones({communicator.rank() + 2});
      communicator.all_reduce(tensor);
    });
    FAIL() << "expected an error";
  } catch (const base::CommunicationError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1 sends 3 elements of Float to rank 0, which expects 2"));
  }
}

// Two threads of rank 0 in one communicator: one is told, the other goes on as soon as rank 1 comes, which it does
// then.
TEST(ThreadCommunicator, SecondThreadIsTold) {
  const auto communicators = make_thread_communicators(2);
  for (const auto& communicator : communicators) communicator->set_debug_mode(true);
  std::promise<std::string> told;
  const auto call = [&] {
    try {
      communicators[0]->barrier();
    } catch (const base::CommunicationError& error) {
      told.set_value(error.what());
    }
  };
  std::thread one(call);
  std::thread two(call);
  EXPECT_THAT(told.get_future().get(), HasSubstr("give each thread its own, from Communicator::duplicate()"));
  communicators[1]->barrier();
  one.join();
  two.join();
}

// An abort through a duplicate ends what waits on the first communicator: it is the group that ends.
TEST(ThreadCommunicator, AbortReachesDuplicates) {
  EXPECT_THROW(run_on_thread_ranks(2,
                                   [](Communicator& communicator) {
                                     const auto duplicate = communicator.duplicate();
                                     if (communicator.rank() == 1) duplicate->abort(3, "rank 1 gives up");
                                     communicator.barrier();
                                   }),
               base::CommunicationError);
}

}  // namespace
}  // namespace rosa::parallel
