// Errors in hooks, on the communication thread and on other ranks: they surface, and nobody waits for ever.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <latch>
#include <thread>

#include "parallel/gradient_reducer.h"
#include "parallel/thread_communicator.h"

namespace rosa::parallel {
namespace {

using testing::HasSubstr;

class ReducerFailures : public testing::TestWithParam<std::string> {
 protected:
  ParallelConfig config() const { return {.reduction = GetParam(), .bucket_mib = 0.001}; }

  // Two buckets; tensor 1 comes first.
  std::unique_ptr<GradientReducer> make(Communicator& communicator, const std::vector<at::Tensor>& tensors,
                                        int64_t num_micro_batches) const {
    std::vector<ReducedTensor> reduced;
    for (const at::Tensor& tensor : tensors) reduced.push_back(reduced_by_autograd(tensor));
    return std::make_unique<GradientReducer>(communicator, config(), num_micro_batches, std::move(reduced),
                                             std::vector<size_t>{1, 0});
  }
};

std::vector<at::Tensor> two_tensors(int64_t size = 5000) {
  return {at::ones({5000}).requires_grad_(true), at::ones({size}).requires_grad_(true)};
}

void backward_of_sum(const std::vector<at::Tensor>& tensors) {
  torch::autograd::backward({tensors[0].sum() + tensors[1].sum()}, {});
}

template <class Error>
void expect_error(const std::string& text, int num_ranks, const std::function<void(Communicator&)>& body) {
  try {
    run_on_thread_ranks(num_ranks, body);
    FAIL() << "expected: " << text;
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(text));
  }
}

TEST_P(ReducerFailures, AHookThatThrowsOnOneRankEndsAll) {
  expect_error<base::DataError>("broken hook", 3, [&](Communicator& communicator) {
    const auto tensors = two_tensors();
    if (communicator.rank() == 1) {
      tensors[0].register_hook([](const at::Tensor& gradient) -> at::Tensor {
        if (gradient.defined()) throw base::DataError("broken hook");
        return gradient;
      });
    }
    const auto reducer = make(communicator, tensors, 3);
    reducer->run_backward([&] { backward_of_sum(tensors); });
    reducer->finish();
    ADD_FAILURE() << "rank " << communicator.rank() << " did not notice";
  });
}

TEST_P(ReducerFailures, AnErrorOnTheCommunicationThreadComesOutOfFinish) {
  std::atomic<int> num_errors = 0;
  run_on_thread_ranks(2, [&](Communicator& communicator) {
    const auto tensors = two_tensors(communicator.rank() == 0 ? 5000 : 50000);
    const auto reducer = make(communicator, tensors, 2);
    reducer->run_backward([&] { backward_of_sum(tensors); });
    for (int again = 0; again < 2; ++again) {
      try {
        reducer->finish();
      } catch (const base::CommunicationError& error) {
        EXPECT_THAT(error.what(), HasSubstr("elements"));
        ++num_errors;
      }
    }
  });
  EXPECT_EQ(num_errors, 4);
}

TEST_P(ReducerFailures, ARankThatEndsInMidStepEndsTheOthers) {
  std::latch sent(1);
  expect_error<base::DataError>("end of data", 2, [&](Communicator& communicator) {
    const auto tensors = two_tensors();
    const auto reducer = make(communicator, tensors, 4);
    reducer->run_backward([&] { backward_of_sum(tensors); });
    if (communicator.rank() == 0) {
      sent.wait();
      throw base::DataError("end of data");
    }
    reducer->run_backward([&] { backward_of_sum(tensors); });
    sent.count_down();  // this rank's buckets wait for rank 0's, which never come
    reducer->finish();
    ADD_FAILURE() << "the sum of one rank";
  });
}

TEST_P(ReducerFailures, EndsWithoutWaitingForBucketsThatNoOtherRankSends) {
  const auto group = make_thread_communicators(2);
  std::thread other([&] { group[1]->duplicate(); });  // takes part in the making of the reducer and in nothing else
  const auto tensors = two_tensors();
  auto reducer = make(*group[0], tensors, 2);
  other.join();
  reducer->run_backward([&] { backward_of_sum(tensors); });
  reducer.reset();
}

TEST_P(ReducerFailures, AfterAFailedBackwardTheReducerSaysSo) {
  run_on_thread_ranks(1, [&](Communicator& communicator) {
    const auto tensors = two_tensors();
    const auto reducer = make(communicator, tensors, 2);
    EXPECT_THROW(reducer->run_backward([] { throw base::DataError("once"); }), base::DataError);
    EXPECT_THROW(reducer->run_backward([] {}), base::ArgumentError);
    EXPECT_THROW(reducer->finish(), base::ArgumentError);
  });
}

TEST_P(ReducerFailures, ATensorReadyTwiceIsAnError) {
  run_on_thread_ranks(1, [&](Communicator& communicator) {
    const auto tensors = two_tensors();
    const auto reducer = make(communicator, tensors, 1);
    EXPECT_THROW(reducer->run_backward([&] {
      backward_of_sum(tensors);
      backward_of_sum(tensors);
    }),
                 base::ArgumentError);
  });
}

INSTANTIATE_TEST_SUITE_P(Modes, ReducerFailures, testing::Values("deterministic", "fast"),
                         [](const auto& test) { return test.param; });

// A frozen tensor is not among the reduced ones; its place in the graph does no harm.
TEST(GradientReducer, FrozenTensorsAreLeftAlone) {
  run_on_thread_ranks(2, [](Communicator& communicator) {
    const at::Tensor frozen = at::full({5000}, 3.0);
    const at::Tensor trained = at::ones({5000}).requires_grad_(true);
    for (const std::string mode : {"deterministic", "fast"}) {
      GradientReducer reducer(communicator, {.reduction = mode}, 2, {reduced_by_autograd(trained)}, {0});
      reducer.run_backward([&] { torch::autograd::backward({(trained * frozen).sum()}, {}); });
      EXPECT_TRUE(at::equal(reducer.finish().narrow(0, 0, 5000), at::full({5000}, 6.0))) << mode;
      EXPECT_FALSE(frozen.grad().defined());
    }
  });
}

// Overlap, without clocks: the second tensor's bucket is summed before the backward is over.
TEST(GradientReducer, ABucketTravelsWhileTheBackwardGoesOn) {
  for (const std::string mode : {"deterministic", "fast"}) {
    std::latch first_bucket_is_summed(2);
    run_on_thread_ranks(2, [&](Communicator& communicator) {
      std::function<void()> ready_first, ready_second;
      const at::Tensor first = at::ones({5000}), second = at::ones({5000});
      const ParallelConfig config{.reduction = mode, .bucket_mib = 0.001};
      GradientReducer reducer(communicator, config, 2,
                              {{first, [&](std::function<void()> ready) { ready_first = std::move(ready); }},
                               {second, [&](std::function<void()> ready) { ready_second = std::move(ready); }}},
                              {1, 0});
      const auto fill = [](const at::Tensor& tensor) {
        at::Tensor& gradient = tensor.mutable_grad();
        gradient.defined() ? gradient.fill_(1.0) : gradient = at::ones({5000});
      };
      reducer.run_backward([&] {
        fill(second);
        ready_second();
        while (reducer.num_buckets_summed() < 1) std::this_thread::yield();  // on its own, while this thread "computes"
        first_bucket_is_summed.arrive_and_wait();
        fill(first);
        ready_first();
      });
      const at::Tensor sum = reducer.finish();
      EXPECT_EQ(sum.max().item<float>(), 2.0f);
      EXPECT_EQ(reducer.num_buckets_summed(), 2);
    });
  }
}

}  // namespace
}  // namespace rosa::parallel
