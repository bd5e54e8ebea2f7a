#include "rosa/operator/host_executor.h"

#include <gtest/gtest.h>

#include <latch>
#include <memory>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "rosa/operator/device_transfer.h"
#include "rosa/operator/rosa_operator.h"
#include "tests/rosa/operator/inputs.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

MatchRequest small_request() {
  MatchRequest request;
  request.query_symbols = at::randint(0, 3, {3, 4, 50}, at::kByte);
  request.key_symbols = at::randint(0, 3, {3, 2, 50}, at::kByte);
  request.value_symbols = at::randint(0, 200, {3, 2, 50}, at::kByte);
  request.want_positions = request.want_lengths = true;
  return request;
}

struct LongestMatch {
  int64_t position = -1, length = 0;
};

// The definition of one output position.
LongestMatch longest_match(const uint8_t* query, const uint8_t* key, int64_t t) {
  LongestMatch best;
  for (int64_t i = t - 1; i >= 0; --i) {
    int64_t length = 0;
    while (length <= i && query[t - length] == key[i - length]) ++length;
    if (length > best.length) best = {i, length};
  }
  return best;
}

TEST(HostExecutor, MatchesGathersAndSplitsOverSequences) {
  at::manual_seed(1);
  const MatchRequest request = small_request();
  HostExecutor one(1), four(4);
  const HardResult result = one.wait(one.submit(request));
  const HardResult same = four.wait(four.submit(request));
  EXPECT_TRUE(testing::is_equal(same.positions, result.positions));
  EXPECT_TRUE(testing::is_equal(same.value_symbols, result.value_symbols));
  EXPECT_TRUE(testing::is_equal(same.matched, result.matched));
  for (int64_t batch = 0; batch < 3; ++batch) {
    for (int64_t head = 0; head < 4; ++head) {
      const at::Tensor query = request.query_symbols[batch][head], key = request.key_symbols[batch][head / 2];
      const at::Tensor value = request.value_symbols[batch][head / 2];
      for (int64_t t = 0; t < 50; ++t) {
        const auto [position, length] =
            longest_match(query.const_data_ptr<uint8_t>(), key.const_data_ptr<uint8_t>(), t);
        EXPECT_EQ(result.positions[batch][head][t].item<int64_t>(), position);
        EXPECT_EQ(result.matched[batch][head][t].item<bool>(), position >= 0);
        EXPECT_EQ(result.lengths[batch][head][t].item<int64_t>(), length);
        EXPECT_EQ(result.value_symbols[batch][head][t].item<int64_t>(),
                  position >= 0 ? value[position + 1].item<int64_t>() : 0);
      }
    }
  }
}

// Three jobs in flight, waited for out of order.
TEST(HostExecutor, SeveralJobsInFlight) {
  HostExecutor executor(2);
  std::vector<MatchRequest> requests;
  std::vector<HostExecutor::Ticket> tickets;
  for (int i = 0; i < 3; ++i) {
    requests.push_back(small_request());
    tickets.push_back(executor.submit(requests.back()));
  }
  HostExecutor other(1);
  for (const int i : {2, 0, 1}) {
    EXPECT_TRUE(
        testing::is_equal(executor.wait(tickets[i]).positions, other.wait(other.submit(requests[i])).positions));
  }
}

// The worker does not go on before the proxy has ended, and the proxy does not begin before the worker has: either
// order of doing one after the other would wait forever.
TEST(HostExecutor, MatchingAndProxyAreInFlightAtOnce) {
  at::manual_seed(2);
  const OperatorInput input = testing::make_input("random", {1, 1, 1, 30, 8, 8});
  OperatorOptions options;
  options.training = true;
  options.alpha = 0.5;
  HostExecutor executor(1);
  std::latch matching_began(1), proxy_ended(1);
  executor.set_hooks({[&] {
                        matching_began.count_down();
                        proxy_ended.wait();
                      },
                      [&] { matching_began.wait(); }, [&] { proxy_ended.count_down(); }});
  const OperatorOutput output = rosa_operator(input, options, executor);
  HostExecutor plain(1);
  EXPECT_TRUE(testing::is_equal(output.bits, rosa_operator(input, options, plain).bits));
}

TEST(HostExecutor, WorkerExceptionsSurfaceInWait) {
  HostExecutor executor(2);
  executor.set_hooks({[] { throw std::runtime_error("a worker failed"); }, {}, {}});
  const auto ticket = executor.submit(small_request());
  EXPECT_THROW(executor.wait(ticket), std::runtime_error);
  executor.set_hooks({});
  EXPECT_TRUE(executor.wait(executor.submit(small_request())).defined());

  MatchRequest decreasing = small_request();
  decreasing.documents = at::zeros({3, 50}, at::kLong);
  decreasing.documents[1][10] = -1;
  EXPECT_THROW(executor.wait(executor.submit(decreasing)), base::ArgumentError);
}

TEST(HostExecutor, AJobMayBeDropped) {
  HostExecutor executor(1);
  executor.submit(small_request());
}

TEST(HostExecutor, RefusesWhatDoesNotFit) {
  HostExecutor executor(1);
  MatchRequest request = small_request();
  request.key_symbols = request.key_symbols.narrow(2, 0, 10);
  EXPECT_THROW(executor.submit(request), base::ArgumentError);
  request = small_request();
  request.key_symbols = request.key_symbols.to(at::kLong);
  EXPECT_THROW(executor.submit(request), base::ArgumentError);
  request = small_request();
  request.mask = at::ones({1, 1, 50, 49}, at::kBool);
  EXPECT_THROW(executor.submit(request), base::ArgumentError);
  EXPECT_THROW(executor.wait(nullptr), base::ArgumentError);
}

}  // namespace
}  // namespace rosa
