// The checks of a launch: they pass on every communicator, find a collective that lies, and read clocks that differ.
#include "parallel/self_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "parallel/single_communicator.h"
#include "parallel/thread_communicator.h"

namespace rosa::parallel {
namespace {

using ::testing::HasSubstr;

const CollectiveCheckOptions kSmall{.num_elements = {1, 37, 1000}, .num_repeats = 2};

TEST(CollectiveCheck, PassesOnEveryNumberOfRanks) {
  const std::vector<CollectiveTiming> alone = check_collectives(*make_single_communicator(), at::kCPU, kSmall);
  for (int num_ranks = 1; num_ranks <= 4; ++num_ranks) {
    run_on_thread_ranks(num_ranks, [&](Communicator& communicator) {
      const std::vector<CollectiveTiming> timings = check_collectives(communicator, at::kCPU, kSmall);
      ASSERT_EQ(timings.size(), alone.size());
      for (std::size_t i = 0; i < timings.size(); ++i) {
        EXPECT_EQ(timings[i].name, alone[i].name);
        EXPECT_GE(timings[i].ms, 0.0) << timings[i].name;
      }
    });
  }
}

// Does what another communicator does, but damages the last element of one operation's results on one rank.
class LyingCommunicator final : public Communicator {
 public:
  LyingCommunicator(Communicator& truth, std::string lie)
      : Communicator({truth.rank(), truth.world_size(), truth.local_rank(), truth.local_size()},
                     std::make_shared<RankGroup>()),
        truth_(truth),
        lie_(std::move(lie)) {}

  std::string backend_name() const override { return "hearsay"; }
  [[noreturn]] void abort(int, const std::string& message) override { throw base::CommunicationError(message); }

 protected:
  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction, bool async) override {
    truth_.all_reduce(tensor, reduction);
    return finish(async ? "all_reduce_async" : std::string("all_reduce ") + name_of(reduction), tensor);
  }
  std::unique_ptr<Work> start_broadcast(const at::Tensor& tensor, int root, bool async) override {
    truth_.broadcast(tensor, root);
    return finish(async ? "broadcast_async" : "broadcast", tensor);
  }
  std::unique_ptr<Work> start_all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                         bool async) override {
    truth_.all_gather(send, receives);
    return finish(async ? "all_gather_async" : "all_gather", receives.back());
  }
  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& send, const at::Tensor& receive, Reduction reduction,
                                             bool async) override {
    receive.copy_(truth_.reduce_scatter(send, reduction));
    return finish(async ? "reduce_scatter_async" : "reduce_scatter", receive);
  }
  std::unique_ptr<Work> start_all_to_all(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives,
                                         bool async) override {
    truth_.all_to_all(sends, receives);
    return finish(async ? "all_to_all_async" : "all_to_all", receives.back());
  }
  std::unique_ptr<Work> start_barrier() override {
    truth_.barrier();
    return std::make_unique<CompleteWork>();
  }
  std::unique_ptr<Communicator> make_group(const std::shared_ptr<const RankGroup>&, const std::vector<int>&) override {
    throw base::CommunicationError("not needed here");
  }

 private:
  std::unique_ptr<Work> finish(const std::string& operation, const at::Tensor& result) {
    const bool is_large = result.is_floating_point() && result.numel() > 100;
    if (operation == lie_ && rank() == 1 && is_large) result.view({-1})[-1].add_(1);
    return std::make_unique<CompleteWork>();
  }

  Communicator& truth_;
  std::string lie_;
};

TEST(CollectiveCheck, FindsEveryOperationThatLies) {
  for (const std::string lie :
       {"all_reduce sum", "all_reduce max", "all_reduce min", "all_reduce_async", "broadcast", "broadcast_async",
        "all_gather", "all_gather_async", "reduce_scatter", "reduce_scatter_async", "all_to_all", "all_to_all_async"}) {
    try {
      run_on_thread_ranks(3, [&](Communicator& truth) {
        LyingCommunicator communicator(truth, lie);
        check_collectives(communicator, at::kCPU, kSmall);
      });
      ADD_FAILURE() << lie << ": not found";
    } catch (const base::CommunicationError& error) {
      EXPECT_THAT(error.what(), HasSubstr(lie));
      EXPECT_THAT(error.what(), HasSubstr("over hearsay gives a wrong result on rank 1 of 3"));
    }
  }
}

TEST(ClockOffsets, AreFoundWithinTheirUncertainty) {
  const std::vector<double> ahead = {0.0, 12.5, -3600.0};
  run_on_thread_ranks(3, [&](Communicator& communicator) {
    const auto clock = [&] {
      const auto since = std::chrono::steady_clock::now().time_since_epoch();
      return std::chrono::duration<double>(since).count() + ahead[static_cast<std::size_t>(communicator.rank())];
    };
    const std::vector<ClockOffset> offsets = measure_clock_offsets(communicator, 10, clock);
    ASSERT_EQ(offsets.size(), 3u);
    EXPECT_EQ(offsets[0].seconds, 0.0);
    EXPECT_EQ(offsets[0].uncertainty_seconds, 0.0);
    for (std::size_t rank = 1; rank < 3; ++rank) {
      // A millisecond for the rounding of large numbers.
      EXPECT_NEAR(offsets[rank].seconds, ahead[rank], offsets[rank].uncertainty_seconds + 1e-3) << "rank " << rank;
      EXPECT_GT(offsets[rank].uncertainty_seconds, 0.0);
    }
  });
}

// A slow way back and forth is corrected for, where it is as long in both directions.
TEST(ClockOffsets, OfAClockThatIsReadLateAreCorrected) {
  run_on_thread_ranks(2, [&](Communicator& communicator) {
    const auto start = std::chrono::steady_clock::now();
    const auto clock = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
    const auto slow_clock = [&] {
      if (communicator.rank() != 1) return clock();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      const double read = clock();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return read;
    };
    communicator.barrier();
    const ClockOffset offset = measure_clock_offsets(communicator, 5, slow_clock)[1];
    EXPECT_GE(offset.uncertainty_seconds, 0.02);
    EXPECT_LE(std::abs(offset.seconds), offset.uncertainty_seconds + 0.01);
  });
}

}  // namespace
}  // namespace rosa::parallel
