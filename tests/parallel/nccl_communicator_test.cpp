// The NCCL communicator over a made-up NCCL and CUDA runtime (tests/support/fake_gpu): the common suite, what it calls
// in which order, and how it ends when something fails. Ranks are processes; streams are late and overtake each other.
#include "parallel/nccl_communicator.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>
#include <nccl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <regex>
#include <thread>

#include "../support/fake_gpu/fake_device.h"
#include "../support/fake_gpu/fake_nccl.h"
#include "communicator_checks.h"
#include "parallel/gradient_reducer.h"
#include "parallel/mpi_communicator.h"
#include "reducer_checks.h"

namespace rosa::parallel {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;

// A folder in memory for what the ranks send each other.
class ExchangeFolder final : public testing::Environment {
 public:
  void SetUp() override {
    char path[] = "/dev/shm/rosa_fake_nccl_XXXXXX";
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
      ASSERT_NE(mkdtemp(path), nullptr);
    }
    MPI_Bcast(path, sizeof(path), MPI_CHAR, 0, MPI_COMM_WORLD);
    path_ = path;
    fake_gpu::set_exchange_folder(path_);
  }
  void TearDown() override {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) std::filesystem::remove_all(path_);
  }

 private:
  std::string path_;
};

const testing::Environment* const kExchangeFolder = testing::AddGlobalTestEnvironment(new ExchangeFolder);

// The ranks of a job, each on a device of its own, which isn't the current one.
class Nccl : public testing::Test {
 protected:
  Nccl() : bootstrap_(make_mpi_communicator()), device_(fake_gpu::device(1 + bootstrap_->rank())) {
    fake_gpu::take_history();
    num_events_at_start_ = fake_gpu::num_living_events();
  }

  ~Nccl() override {
    bootstrap_->set_timeout(600);  // others may be at the end of a time limit of the test
    bootstrap_->barrier();
    EXPECT_THAT(fake_gpu::take_violations(), IsEmpty());
    EXPECT_EQ(fake_gpu::num_living_communicators(), 0);
    EXPECT_EQ(fake_gpu::num_living_events(), num_events_at_start_);
  }

  std::unique_ptr<Communicator> make() { return make_nccl_communicator(*bootstrap_, device_); }
  at::Tensor on_device(const at::Tensor& tensor) const { return tensor.to(device_); }
  int world_size() const { return bootstrap_->world_size(); }
  bool is_last() const { return bootstrap_->rank() == world_size() - 1; }

  // The stream on which this thread computes on the test's device.
  cudaStream_t current_stream() const {
    return static_cast<cudaStream_t>(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).native_handle());
  }

  // Runs `body` and expects a CommunicationError with all of `parts`.
  template <class Body>
  static void expect_error(const std::vector<std::string>& parts, const Body& body) {
    try {
      body();
      ADD_FAILURE() << "expected a CommunicationError";
    } catch (const base::CommunicationError& error) {
      for (const std::string& part : parts) EXPECT_THAT(error.what(), HasSubstr(part));
    }
  }

  std::unique_ptr<Communicator> bootstrap_;
  at::Device device_;
  int num_events_at_start_ = 0;
};

std::vector<CommunicatorCheck> all_checks() {
  std::vector<CommunicatorCheck> checks = communicator_checks();
  checks.insert(checks.end(), misuse_checks().begin(), misuse_checks().end());
  checks.insert(checks.end(), reducer_checks().begin(), reducer_checks().end());
  return checks;
}

class OverNccl : public Nccl, public testing::WithParamInterface<CommunicatorCheck> {};

TEST_P(OverNccl, LateStreams) {
  const std::unique_ptr<Communicator> communicator = make();
  EXPECT_EQ(communicator->device(), device_);
  GetParam().run(*communicator);
}

INSTANTIATE_TEST_SUITE_P(Checks, OverNccl, testing::ValuesIn(all_checks()),
                         [](const auto& test) { return test.param.name; });

// --- calls and their order

TEST_F(Nccl, AllReduceLiesBetweenTwoEvents) {
  const auto communicator = make();
  const at::Tensor tensor = on_device(at::ones({7}));
  fake_gpu::take_history();
  communicator->all_reduce(tensor);
  const std::string current = std::to_string(fake_gpu::number_of(current_stream()));
  const std::vector<std::string> calls = fake_gpu::take_history();
  ASSERT_EQ(calls.size(), 6U);
  EXPECT_EQ(calls[0], "cudaEventCreateWithFlags");
  EXPECT_THAT(calls[1], MatchesRegex("cudaEventRecord event .* stream " + current));
  EXPECT_THAT(calls[2], MatchesRegex("cudaStreamWaitEvent stream .* event .*"));
  EXPECT_THAT(calls[3], MatchesRegex("ncclAllReduce float32 7 sum stream .* comm .*"));
  EXPECT_EQ(calls[4], "cudaEventCreateWithFlags");
  EXPECT_THAT(calls[5], MatchesRegex("cudaEventRecord event .* stream .*"));
  // The wait and the last record are on NCCL's stream, which is not the current one.
  const std::string stream = calls[3].substr(calls[3].find("stream"), calls[3].find(" comm") - calls[3].find("stream"));
  EXPECT_NE(stream, "stream " + current);
  EXPECT_THAT(calls[2], HasSubstr(stream + " "));
  EXPECT_THAT(calls[5], HasSubstr(stream));
}

TEST_F(Nccl, AllToAllIsOneGroupWithoutEmptyMessages) {
  const auto communicator = make();
  std::vector<at::Tensor> sends;
  std::vector<at::Tensor> receives;
  for (int other = 0; other < world_size(); ++other) {
    sends.push_back(on_device(at::ones({other})));
    receives.push_back(on_device(at::ones({bootstrap_->rank()})));
  }
  fake_gpu::take_history();
  communicator->all_to_all(sends, receives);
  int num_sends = 0;
  int num_receives = 0;
  bool is_in_group = false;
  for (const std::string& call : fake_gpu::take_history()) {
    if (call == "ncclGroupStart") is_in_group = true;
    if (call == "ncclGroupEnd") is_in_group = false;
    if (call.rfind("ncclSend", 0) == 0) {
      EXPECT_TRUE(is_in_group && ++num_sends > 0) << call;
    }
    if (call.rfind("ncclRecv", 0) == 0) {
      EXPECT_TRUE(is_in_group && ++num_receives > 0) << call;
    }
    EXPECT_THAT(call, Not(HasSubstr(" 0 bytes")));
  }
  EXPECT_EQ(num_sends, world_size() - 1);
  EXPECT_EQ(num_receives, bootstrap_->rank() == 0 ? 0 : world_size());
}

TEST_F(Nccl, TensorsOnTheHostAndTextsDoNotTouchNccl) {
  const auto communicator = make();
  fake_gpu::take_history();
  communicator->all_reduce(at::ones({3}));
  communicator->all_gather(at::ones({3}));
  communicator->all_gather_text("text");
  communicator->barrier();
  EXPECT_THAT(fake_gpu::take_history(), IsEmpty());
}

TEST_F(Nccl, IsNonBlockingAndClosedInOrder) {
  make();
  const std::vector<std::string> calls = fake_gpu::take_history();
  EXPECT_THAT(calls, Contains(MatchesRegex(base::concat("ncclCommInitRankConfig rank ", bootstrap_->rank(), " of ",
                                                        world_size(), " non-blocking comm .*"))));
  ASSERT_GE(calls.size(), 2U);
  EXPECT_THAT(calls[calls.size() - 2], HasSubstr("ncclCommFinalize"));
  EXPECT_THAT(calls[calls.size() - 1], HasSubstr("ncclCommDestroy"));
}

// --- streams

TEST_F(Nccl, CollectiveWaitsForWhatTheCurrentStreamHolds) {
  const auto communicator = make();
  const at::Tensor tensor = on_device(at::zeros({5}));
  fake_gpu::hold(current_stream());
  tensor.copy_(at::full({5}, 3.0));
  const auto work = communicator->all_reduce_async(tensor);
  bootstrap_->barrier();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // time to go wrong: nothing needs it to pass
  EXPECT_FALSE(work->is_complete());
  fake_gpu::let_go(current_stream());
  work->wait();
  EXPECT_TRUE(at::equal(tensor.cpu(), at::full({5}, 3.0 * world_size())));
}

TEST_F(Nccl, CollectiveWaitsForTheStreamOfTheCaller) {
  const auto communicator = make();
  const c10::Stream side = c10::impl::VirtualGuardImpl(device_.type()).getStreamFromGlobalPool(device_);
  const at::Tensor tensor = on_device(at::zeros({5}));
  const c10::StreamGuard guard(side);
  fake_gpu::hold(current_stream());
  tensor.copy_(at::full({5}, 3.0));
  const auto work = communicator->all_reduce_async(tensor);
  bootstrap_->barrier();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(work->is_complete());
  fake_gpu::let_go(current_stream());
  work->wait();
  EXPECT_TRUE(at::equal(tensor.cpu(), at::full({5}, 3.0 * world_size())));
}

TEST_F(Nccl, WorkIsCompleteOnlyWhenTheCollectiveIs) {
  const auto communicator = make();
  const at::Tensor tensor = on_device(at::ones({5}));
  communicator->all_reduce(tensor);
  const cudaStream_t stream = fake_gpu::last_stream();
  ASSERT_NE(stream, current_stream());
  fake_gpu::hold(stream);
  const auto work = communicator->all_reduce_async(tensor);
  EXPECT_FALSE(work->is_complete());
  fake_gpu::let_go(stream);
  work->wait();
  EXPECT_TRUE(work->is_complete());
  EXPECT_TRUE(at::equal(tensor.cpu(), at::full({5}, 1.0 * world_size() * world_size())));
}

TEST_F(Nccl, BuffersOfAWorkNobodyWaitsForStayAlive) {
  const auto communicator = make();
  fake_gpu::hold(current_stream());
  communicator->all_reduce_async(on_device(at::ones({1000})));
  fake_gpu::let_go(current_stream());
  // Closing waits for the collective; a freed buffer would be a violation by then.
}

TEST_F(Nccl, AnotherThreadMayWait) {
  const auto communicator = make();
  const at::Tensor tensor = on_device(at::ones({5}));
  const auto work = communicator->all_reduce_async(tensor);
  std::thread([&] { work->wait(); }).join();
  EXPECT_TRUE(at::equal(tensor.cpu(), at::full({5}, 1.0 * world_size())));
}

// --- the gradient reducer

TEST_F(Nccl, FastModeSendsEachBucketOnceAStepThroughNccl) {
  if (world_size() == 1) GTEST_SKIP() << "one rank sends nothing";
  const auto communicator = make();
  constexpr int64_t kSize = 1000;
  for (const bool sharded : {false, true}) {
    const std::vector<at::Tensor> tensors = {on_device(at::ones({kSize})), on_device(at::ones({kSize}))};
    std::array<std::function<void()>, 2> ready;
    const auto reduced = [&](size_t i) {
      return ReducedTensor{tensors[i], [&ready, i](std::function<void()> call) { ready[i] = std::move(call); }};
    };
    const ParallelConfig config{
        .reduction = "fast", .bucket_mib = kSize * sizeof(float) / 1048576.0, .sharded_optimizer = sharded};
    GradientReducer reducer(*communicator, config, 3 * world_size(), {reduced(0), reduced(1)}, {1, 0});
    ASSERT_EQ(reducer.layout().num_buckets(), 2U);
    for (int step = 0; step < 2; ++step) {
      fake_gpu::take_history();
      for (int micro_batch = 0; micro_batch < 3; ++micro_batch) {
        reducer.run_backward([&] {
          for (const size_t i : {1, 0}) {
            tensors[i].mutable_grad().add_(1.0);
            ready[i]();
          }
        });
      }
      const at::Tensor sum = reducer.finish().cpu();
      std::vector<std::string> sums;
      for (const std::string& call : fake_gpu::take_history()) {
        if (call.rfind("nccl", 0) == 0) sums.push_back(call);
      }
      const char* call = sharded ? "ncclReduceScatter float32 .* sum .*" : "ncclAllReduce float32 .* sum .*";
      EXPECT_THAT(sums, ElementsAre(MatchesRegex(call), MatchesRegex(call)));
      for (const auto& piece :
           sharded ? reducer.layout().pieces_of_rank(communicator->rank()) : reducer.layout().whole_tensors()) {
        EXPECT_TRUE(at::eq(sum.narrow(0, piece.offset, piece.size()), 3.0 * world_size()).all().item<bool>());
      }
    }
  }
}

// The time of a bucket is that between two events on the stream of its collective, with nothing but the collective
// between them, the first behind what the backward had given to its own stream.
TEST_F(Nccl, EachBucketIsTimedByEventsAtBothEnds) {
  if (world_size() == 1) GTEST_SKIP() << "one rank sends nothing";
  const auto communicator = make();
  for (const char* mode : {"fast", "deterministic"}) {
    const at::Tensor tensor = on_device(at::ones({1000}));
    std::function<void()> ready;
    GradientReducer reducer(*communicator, {.reduction = mode}, world_size(),
                            {{tensor, [&](std::function<void()> call) { ready = std::move(call); }}}, {0});
    fake_gpu::take_history();
    reducer.run_backward([&] {
      const at::Tensor gradient = on_device(at::full({1000}, 3.0));
      if (tensor.grad().defined()) {
        tensor.mutable_grad().copy_(gradient);
      } else {
        tensor.mutable_grad() = gradient;
      }
      ready();
    });
    reducer.finish();
    const std::vector<std::string> calls = fake_gpu::take_history();
    const auto place_of = [&](const std::string& pattern) {
      const auto found = std::find_if(calls.begin(), calls.end(), [&](const std::string& call) {
        return std::regex_match(call, std::regex(pattern));
      });
      EXPECT_NE(found, calls.end()) << pattern;
      return found - calls.begin();
    };
    std::smatch events, stream;
    const std::string& timed = calls.at(static_cast<size_t>(place_of("cudaEventElapsedTime .*")));
    ASSERT_TRUE(std::regex_match(timed, events, std::regex("cudaEventElapsedTime event (\\d+) event (\\d+)")));
    const auto begin = place_of("cudaEventRecord event " + events[1].str() + " stream .*");
    const auto end = place_of("cudaEventRecord event " + events[2].str() + " stream .*");
    ASSERT_TRUE(std::regex_search(calls.at(static_cast<size_t>(begin)), stream, std::regex("stream (\\d+)")));
    EXPECT_THAT(calls.at(static_cast<size_t>(end)), HasSubstr("stream " + stream[1].str()));
    // Every call of NCCL lies between them, and the stream has waited for another one before.
    for (size_t i = 0; i < calls.size(); ++i) {
      if (calls[i].rfind("nccl", 0) != 0) continue;
      EXPECT_GT(static_cast<std::ptrdiff_t>(i), begin) << calls[i];
      EXPECT_LT(static_cast<std::ptrdiff_t>(i), end) << calls[i];
    }
    EXPECT_LT(place_of("cudaStreamWaitEvent stream " + stream[1].str() + " event .*"), begin);
    EXPECT_GT(reducer.times().communication_ms, 0.0);
    EXPECT_GE(reducer.times().exposed_ms, 0.0);
    EXPECT_LE(reducer.times().exposed_ms, reducer.times().communication_ms);
  }
}

TEST_F(Nccl, FastModeWaitsForTheStreamOfTheBackward) {
  if (world_size() == 1) GTEST_SKIP() << "one rank sends nothing";
  const auto communicator = make();
  const at::Tensor tensor = on_device(at::ones({1000}));
  std::function<void()> ready;
  GradientReducer reducer(*communicator, {.reduction = "fast"}, world_size(),
                          {{tensor, [&](std::function<void()> call) { ready = std::move(call); }}}, {0});
  const c10::StreamGuard guard(c10::impl::VirtualGuardImpl(device_.type()).getStreamFromGlobalPool(device_));
  reducer.run_backward([&] {
    fake_gpu::hold(current_stream());
    tensor.mutable_grad().copy_(at::full({1000}, 3.0));
    ready();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // time to go wrong: nothing needs it to pass
  fake_gpu::let_go(current_stream());
  EXPECT_TRUE(at::equal(reducer.finish().cpu().narrow(0, 0, 1000), at::full({1000}, 3.0 * world_size())));
}

// --- failures. Every rank fails alike unless a test says otherwise.

TEST_F(Nccl, CallThatFailsAbortsAndNamesItself) {
  const auto communicator = make();
  const at::Tensor tensor = on_device(at::ones({5}));
  fake_gpu::fail_call("ncclAllReduce", ncclSystemError);
  expect_error({"ncclAllReduce failed on rank", "unhandled system error", "(code 2)"},
               [&] { communicator->all_reduce(tensor); });
  EXPECT_THAT(fake_gpu::take_history(), Contains(HasSubstr("ncclCommAbort")));
  expect_error({"aborted after an earlier error"}, [&] { communicator->all_reduce(tensor); });
  communicator->all_reduce(at::ones({5}));  // the bootstrap still works
}

TEST_F(Nccl, CallThatFailsWhileItIsPolledAborts) {
  const auto communicator = make();
  fake_gpu::fail_call("ncclBroadcast:later", ncclInternalError);
  expect_error({"ncclBroadcast failed", "internal error", "refused on purpose"},
               [&] { communicator->broadcast(on_device(at::ones({5})), 0); });
  EXPECT_THAT(fake_gpu::take_history(), Contains(HasSubstr("ncclCommAbort")));
}

TEST_F(Nccl, FailureInsideAGroupClosesTheGroup) {
  const auto communicator = make();
  const at::Tensor tensor = on_device(at::ones({5}));
  for (const char* function : {"ncclSend", "ncclRecv", "ncclGroupEnd", "ncclGroupStart"}) {
    const auto group = communicator->duplicate();
    fake_gpu::take_history();
    fake_gpu::fail_call(function, ncclSystemError);
    expect_error({"all_gather by ncclSend and ncclRecv failed"}, [&] { group->all_gather(tensor); });
    int depth = 0;
    for (const std::string& call : fake_gpu::take_history()) {
      depth += call == "ncclGroupStart" ? 1 : call == "ncclGroupEnd" ? -1 : 0;
    }
    EXPECT_EQ(depth, 0) << function;
    communicator->all_gather(tensor);  // on this thread, where an open group would swallow it
  }
}

TEST_F(Nccl, CallThatIsNeverTakenEndsAtTheTimeLimit) {
  bootstrap_->set_timeout(0.3);
  const auto communicator = make();
  fake_gpu::fail_call("ncclReduceScatter:stuck", 0);
  expect_error({"ncclReduceScatter failed", "did not complete within 0.3 s"},
               [&] { communicator->reduce_scatter(on_device(at::ones({world_size()}))); });
  EXPECT_THAT(fake_gpu::take_history(), Contains(HasSubstr("ncclCommAbort")));
}

TEST_F(Nccl, AsynchronousErrorEndsTheWait) {
  const auto communicator = make();
  fake_gpu::fail_call("ncclAllReduce:running", ncclRemoteError);
  expect_error({"ncclAllReduce failed", "remote process exited", "the network failed"},
               [&] { communicator->all_reduce_async(on_device(at::ones({5})))->wait(); });
  EXPECT_THAT(fake_gpu::take_history(), Contains(HasSubstr("ncclCommAbort")));
}

TEST_F(Nccl, CollectiveThatEndsWithAnErrorHasNoResult) {
  const auto communicator = make();
  fake_gpu::fail_call("ncclAllReduce:broken", ncclRemoteError);
  const auto work = communicator->all_reduce_async(on_device(at::ones({5})));
  ASSERT_EQ(cudaStreamSynchronize(fake_gpu::last_stream()), cudaSuccess);  // over before anybody looks
  expect_error({"ncclAllReduce failed", "remote process exited"}, [&] { work->wait(); });
}

TEST_F(Nccl, AbortEndsTheOtherCollectivesOfTheRank) {
  const auto communicator = make();
  fake_gpu::fail_call("ncclAllReduce:running", ncclRemoteError);
  // The error may come before the call has returned.
  expect_error({"remote"}, [&] { communicator->all_reduce_async(on_device(at::ones({5})))->wait(); });
  expect_error({"aborted"}, [&] { communicator->broadcast_async(on_device(at::ones({5})), 0)->wait(); });
}

TEST_F(Nccl, RankThatNeverComesEndsTheWaitAtTheTimeLimit) {
  if (world_size() == 1) GTEST_SKIP() << "needs two ranks";
  const auto communicator = make();
  communicator->set_timeout(2);
  if (!is_last()) {
    expect_error({"all_reduce (collective 1) on rank", "did not end within 2 s"},
                 [&] { communicator->all_reduce(on_device(at::ones({5}))); });
    EXPECT_THAT(fake_gpu::take_history(), Contains(HasSubstr("ncclCommAbort")));
  }
  bootstrap_->barrier();
  // The last rank, which knows of nothing, closes: the others are gone, and closing gives up.
}

TEST_F(Nccl, RankWithoutTheOthersCannotStart) {
  if (world_size() == 1) GTEST_SKIP() << "needs two ranks";
  bootstrap_->set_timeout(2);
  if (is_last()) fake_gpu::fail_call("ncclCommInitRankConfig", ncclSystemError);
  expect_error({"ncclCommInitRankConfig failed", is_last() ? "unhandled system error" : "did not complete within 2 s"},
               [&] { make(); });
}

TEST_F(Nccl, FailureOfTheUniqueIdIsSeenEverywhere) {
  if (bootstrap_->rank() == 0) fake_gpu::fail_call("ncclGetUniqueId", ncclSystemError);
  expect_error({"ncclGetUniqueId failed on rank 0", "unhandled system error"}, [&] { make(); });
}

TEST_F(Nccl, FailureOfAStreamOrEventIsACommunicationError) {
  const auto communicator = make();
  const at::Tensor tensor = on_device(at::ones({5}));
  for (const char* function : {"cudaEventCreateWithFlags", "cudaEventRecord", "cudaStreamWaitEvent"}) {
    const auto group = communicator->duplicate();
    fake_gpu::fail_call(function, cudaErrorLaunchFailure);
    expect_error({"ncclAllReduce failed", function, "unspecified launch failure"}, [&] { group->all_reduce(tensor); });
    // A rank that could not even launch must not leave the others waiting for it: all have aborted.
    expect_error({"aborted"}, [&] { group->all_reduce(tensor); });
  }
  const auto group = communicator->duplicate();
  const auto work = group->all_reduce_async(tensor);
  fake_gpu::fail_call("cudaEventQuery", cudaErrorLaunchFailure);
  expect_error({"ncclAllReduce failed", "cudaEventQuery", "unspecified launch failure"}, [&] { work->wait(); });
}

TEST_F(Nccl, RanksThatDifferAreToldWithoutDebugModeToo) {
  if (world_size() == 1) GTEST_SKIP() << "needs two ranks";
  const auto communicator = make();
  expect_error({"ncclAllReduce failed", "the ranks differ"},
               [&] { communicator->all_reduce(on_device(at::ones({is_last() ? 5 : 4}))); });
  EXPECT_THAT(fake_gpu::take_violations(), Contains(HasSubstr("the ranks differ")));  // the fake's own word
}

// --- versions

TEST_F(Nccl, RefusesAnotherVersionThanTheHeaders) {
  fake_gpu::set_nccl_version(22807);
  expect_error({"NCCL 2.28.7 is loaded", "built with the headers of 2.30.7", "LD_LIBRARY_PATH"}, [&] { make(); });
  fake_gpu::set_nccl_version(0);
  EXPECT_EQ(nccl_version(), "2.30.7");
}

TEST_F(Nccl, RefusesVersionsThatDifferBetweenRanks) {
  if (world_size() == 1) GTEST_SKIP() << "needs two ranks";
  if (is_last()) fake_gpu::set_nccl_version(22904);
  EXPECT_THROW(make(), base::ConfigError);
  fake_gpu::set_nccl_version(0);
}

// --- the end

TEST_F(Nccl, UnwindingAbortsAndWaitsForNobody) {
  const auto communicator = make();
  try {
    const auto group = communicator->duplicate();
    fake_gpu::take_history();
    throw base::DataError("token file is damaged");
  } catch (const base::DataError&) {
  }
  EXPECT_THAT(fake_gpu::take_history(), ElementsAre(HasSubstr("ncclCommAbort")));
}

TEST_F(Nccl, ClosingGivesUpOnRanksThatHaveAborted) {
  if (world_size() == 1) GTEST_SKIP() << "needs two ranks";
  bootstrap_->set_timeout(1);
  auto communicator = make();
  fake_gpu::take_history();
  if (is_last()) {
    fake_gpu::fail_call("ncclAllReduce", ncclSystemError);
    EXPECT_THROW(communicator->all_reduce(on_device(at::ones({5}))), base::CommunicationError);
  }
  communicator.reset();
  EXPECT_THAT(fake_gpu::take_history(), Contains(HasSubstr("ncclCommAbort")));
}

TEST_F(Nccl, WorkMayOutliveTheCommunicator) {
  auto communicator = make();
  const at::Tensor tensor = on_device(at::ones({5}));
  const auto work = communicator->all_reduce_async(tensor);
  communicator.reset();
  work->wait();
  EXPECT_TRUE(at::equal(tensor.cpu(), at::full({5}, 1.0 * world_size())));
}

}  // namespace
}  // namespace rosa::parallel
