// What is done about steps whose numbers are not finite, and about loss spikes.
#include "training/step_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "base/error.h"
#include "parallel/single_communicator.h"
#include "parallel/thread_communicator.h"

namespace rosa::training {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class StepGuardTest : public ::testing::Test {
 protected:
  StepDecision decide(StepGuard& guard, int64_t step, double loss, double norm = 1.0) {
    return guard.decide(
        {step, loss, norm}, [] { return std::string("here"); }, *communicator_);
  }
  // A loss that falls and wobbles by a few percent.
  static double usual_loss(int64_t step) { return 3.0 * std::exp(-0.001 * step) * (1.0 + 0.03 * std::sin(1.7 * step)); }

  const std::unique_ptr<parallel::Communicator> communicator_ = parallel::make_single_communicator();
};

TEST_F(StepGuardTest, SkipsAndCountsUntilTooManyComeInARow) {
  StepGuard guard({.on_non_finite = OnNonFinite::skip, .max_in_a_row = 2});
  EXPECT_EQ(decide(guard, 0, 1.0), StepDecision::update);
  EXPECT_EQ(decide(guard, 1, kNaN), StepDecision::skip);
  EXPECT_EQ(decide(guard, 2, 1.0, kInfinity), StepDecision::skip);
  EXPECT_EQ(decide(guard, 3, 1.0), StepDecision::update);
  EXPECT_EQ(decide(guard, 4, -kInfinity), StepDecision::skip);
  EXPECT_EQ(decide(guard, 5, kNaN), StepDecision::skip);
  EXPECT_EQ(guard.num_skipped(), 4);
  try {
    decide(guard, 6, kNaN);
    FAIL() << "no error";
  } catch (const base::NumericError& error) {
    EXPECT_THAT(error.what(), ::testing::AllOf(::testing::HasSubstr("step 6"), ::testing::HasSubstr("3 steps in a row"),
                                               ::testing::HasSubstr("on rank 0: here")));
  }
}

TEST_F(StepGuardTest, StopsAtOnceWhereConfigured) {
  StepGuard guard({.on_non_finite = OnNonFinite::stop});
  EXPECT_THROW(decide(guard, 0, kNaN), base::NumericError);
}

TEST_F(StepGuardTest, RollsBackAndSkipsTheStepWhenItComesAgain) {
  StepGuard guard({.on_non_finite = OnNonFinite::roll_back, .max_in_a_row = 2});
  EXPECT_EQ(decide(guard, 0, 1.0), StepDecision::update);
  const base::StateDict checkpoint = guard.save_state();
  EXPECT_EQ(decide(guard, 1, 1.0), StepDecision::update);
  EXPECT_EQ(decide(guard, 2, kNaN), StepDecision::roll_back);
  guard.roll_back([&] { guard.load_state(checkpoint); });
  EXPECT_EQ(decide(guard, 1, 1.0), StepDecision::update);
  EXPECT_EQ(decide(guard, 2, kNaN), StepDecision::skip);
  EXPECT_EQ(decide(guard, 3, kNaN), StepDecision::roll_back);
  guard.roll_back([&] { guard.load_state(checkpoint); });
  EXPECT_EQ(decide(guard, 2, 1.0), StepDecision::skip) << "finite this time, but its data is not trusted";
  EXPECT_EQ(guard.num_roll_backs(), 2);
  EXPECT_THROW(decide(guard, 4, kNaN), base::NumericError);
}

TEST_F(StepGuardTest, SpikesAreSeenAndTheUsualIsNot) {
  for (const OnSpike on_spike : {OnSpike::ignore, OnSpike::log, OnSpike::skip}) {
    StepGuard guard({.on_spike = on_spike});
    EXPECT_EQ(decide(guard, 0, 100.0), StepDecision::update) << "nothing is known yet";
    for (int64_t step = 1; step < 300; ++step) EXPECT_EQ(decide(guard, step, usual_loss(step)), StepDecision::update);
    EXPECT_EQ(guard.num_spikes(), 0);
    EXPECT_EQ(decide(guard, 300, 10 * usual_loss(300)),
              on_spike == OnSpike::skip ? StepDecision::skip : StepDecision::update);
    EXPECT_EQ(guard.num_spikes(), on_spike == OnSpike::ignore ? 0 : 1);
    EXPECT_EQ(decide(guard, 301, usual_loss(301)), StepDecision::update);
    EXPECT_EQ(decide(guard, 302, usual_loss(302) / 10), StepDecision::update) << "falling is no spike";
  }
}

TEST_F(StepGuardTest, ALossThatStaysHighIsTheUsualInTheEnd) {
  StepGuard guard({.on_spike = OnSpike::skip, .spike_window = 32});
  for (int64_t step = 0; step < 100; ++step) decide(guard, step, usual_loss(step));
  for (int64_t step = 100; step < 140; ++step) decide(guard, step, 10 * usual_loss(step));
  EXPECT_EQ(decide(guard, 140, 10 * usual_loss(140)), StepDecision::update);
}

TEST_F(StepGuardTest, ItsMemoryGoesThroughCheckpoints) {
  const StepGuardConfig config{.on_spike = OnSpike::skip, .spike_window = 32};
  StepGuard whole(config), first(config), second(config);
  std::vector<StepDecision> uninterrupted, resumed;
  const auto loss = [](int64_t step) { return step % 37 == 36 ? kNaN : (step % 50 == 49 ? 40.0 : usual_loss(step)); };
  for (int64_t step = 0; step < 120; ++step) uninterrupted.push_back(decide(whole, step, loss(step)));
  for (int64_t step = 0; step < 60; ++step) resumed.push_back(decide(first, step, loss(step)));
  second.load_state(first.save_state());
  for (int64_t step = 60; step < 120; ++step) resumed.push_back(decide(second, step, loss(step)));
  EXPECT_EQ(resumed, uninterrupted);
  EXPECT_EQ(second.num_skipped(), whole.num_skipped());
  EXPECT_EQ(second.num_spikes(), 2);
  base::StateDict damaged = first.save_state();
  damaged.tensors.erase("log_losses");
  EXPECT_THROW(second.load_state(damaged), base::CheckpointError);
}

TEST_F(StepGuardTest, AllRanksDecideAlikeAndNameTheCulprit) {
  std::mutex mutex;
  std::vector<StepDecision> decisions;
  std::vector<std::string> errors;
  parallel::run_on_thread_ranks(3, [&](parallel::Communicator& communicator) {
    StepGuard guard({.on_non_finite = OnNonFinite::skip, .max_in_a_row = 1});
    const bool culprit = communicator.rank() == 1;
    const auto blame = [&] { return culprit ? std::string("micro-batch 4") : std::string(); };
    // Only one rank sees it, as with a replica that has drifted.
    const StepDecision decision = guard.decide({0, culprit ? kNaN : 1.0, 1.0}, blame, communicator);
    std::string error;
    try {
      guard.decide({1, culprit ? kNaN : 1.0, 1.0}, blame, communicator);
    } catch (const base::NumericError& caught) {
      error = caught.what();
    }
    const std::lock_guard lock(mutex);
    decisions.push_back(decision);
    errors.push_back(error);
  });
  EXPECT_EQ(decisions, std::vector<StepDecision>(3, StepDecision::skip));
  for (const std::string& error : errors) {
    EXPECT_THAT(error, ::testing::HasSubstr("on rank 1: micro-batch 4"));
    EXPECT_THAT(error, ::testing::Not(::testing::HasSubstr("on rank 0")));
  }
}

}  // namespace
}  // namespace rosa::training
