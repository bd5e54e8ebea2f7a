// The executor beside a device that works on its own: who waits for whom, shown with latches. A wrong order waits
// forever.
#include "rosa/operator/stand_in_device.h"

#include <gtest/gtest.h>

#include <latch>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "rosa/operator/host_executor.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

MatchRequest request_of_bits(int64_t num_bits) {
  const int64_t end = int64_t{1} << num_bits;
  MatchRequest request;
  request.query_symbols = at::randint(0, end, {3, 4, 61}, at::kByte);
  request.key_symbols = at::randint(0, end, {3, 2, 61}, at::kByte);
  request.value_symbols = at::randint(0, end, {3, 2, 61}, at::kByte);
  request.symbol_bits = request.value_bits = num_bits;
  request.want_positions = true;
  return request;
}

HardResult on_the_host(const MatchRequest& request) {
  HostExecutor executor(1);
  return executor.wait(executor.submit(request));
}

void expect_equal(const HardResult& result, const HardResult& expected) {
  EXPECT_TRUE(testing::is_equal(result.matched, expected.matched));
  for (const auto& [tensor, other] : {std::pair(&result.positions, &expected.positions),
                                      {&result.lengths, &expected.lengths},
                                      {&result.value_symbols, &expected.value_symbols},
                                      {&result.place_counts, &expected.place_counts},
                                      {&result.place_sums, &expected.place_sums}}) {
    ASSERT_EQ(tensor->defined(), other->defined());
    if (tensor->defined()) {
      EXPECT_TRUE(testing::is_equal(*tensor, *other));
    }
  }
}

TEST(StandInDevice, WhatCrossesIsWhatTheHostGives) {
  at::manual_seed(1);
  StandInDevice device;
  HostExecutor executor(2, device.transfers());
  for (const int64_t num_bits : {1, 2, 8}) {
    MatchRequest request = request_of_bits(num_bits);
    for (const bool restricted : {false, true}) {
      request.want_lengths = restricted || num_bits == 1;
      if (restricted) {
        request.mask = at::rand({1, 4, 61, 61}) < 0.7;
        request.documents = at::arange(61).div(20, "floor").unsqueeze(0).repeat({3, 1});
      }
      for (const bool all_places : {false, true}) {
        request.want_place_sums = all_places;
        const HardResult result = executor.wait(executor.submit(request));
        device.stream().synchronize();
        expect_equal(result, on_the_host(request));
      }
    }
  }
  // The gate's way: one tensor that is query, key and value.
  MatchRequest gate;
  gate.query_symbols = gate.key_symbols = gate.value_symbols = at::randint(0, 2, {2, 3, 61}, at::kByte);
  gate.symbol_bits = gate.value_bits = 1;
  const HardResult result = executor.wait(executor.submit(gate));
  device.stream().synchronize();
  expect_equal(result, on_the_host(gate));
  MatchRequest wide = request_of_bits(8);
  for (at::Tensor* symbols : {&wide.query_symbols, &wide.key_symbols, &wide.value_symbols}) {
    *symbols = symbols->to(at::kLong) * 1000003;
  }
  wide.symbol_bits = wide.value_bits = 30;
  const HardResult wide_result = executor.wait(executor.submit(wide));
  device.stream().synchronize();
  expect_equal(wide_result, on_the_host(wide));
}

// The device packs, is held by a proxy that ends only after wait() has returned, and blends after that.
TEST(StandInDevice, MatchingRunsBesideTheProxyAndResultsArriveInOrder) {
  at::manual_seed(2);
  const MatchRequest source = request_of_bits(8);
  const HardResult expected = on_the_host(source);
  MatchRequest request = source;
  for (at::Tensor* symbols : {&request.query_symbols, &request.key_symbols, &request.value_symbols}) {
    *symbols = at::zeros_like(*symbols);
  }
  std::latch may_pack(1), may_end(1);
  StandInDevice device;
  HostExecutor executor(1, device.transfers());
  device.stream().launch([&, request]() mutable {
    may_pack.wait();
    request.query_symbols.copy_(source.query_symbols);
    request.key_symbols.copy_(source.key_symbols);
    request.value_symbols.copy_(source.value_symbols);
  });
  const auto ticket = executor.submit(request);  // returns at once: nothing is packed yet
  device.stream().launch([&] { may_end.wait(); });
  may_pack.count_down();
  const HardResult result = executor.wait(ticket);  // returns although the proxy is under way
  at::Tensor blended;
  device.stream().launch([&] { blended = result.value_symbols.clone(); });
  may_end.count_down();
  device.stream().synchronize();
  EXPECT_TRUE(testing::is_equal(blended, expected.value_symbols));
  expect_equal(result, expected);
}

TEST(StandInDevice, StagingIsUsedAgainAndNothingOverwritesWhatIsInFlight) {
  at::manual_seed(3);
  StandInDevice device;
  HostExecutor executor(2, device.transfers());
  for (int layer = 0; layer < 5; ++layer) {
    const MatchRequest request = request_of_bits(8);
    const HardResult result = executor.wait(executor.submit(request));
    device.stream().synchronize();
    expect_equal(result, on_the_host(request));
  }
  EXPECT_EQ(executor.num_staging_buffers(), 1);
  const int64_t bytes_of_one = executor.staging_bytes();

  for (int step = 0; step < 3; ++step) {
    std::vector<MatchRequest> requests;
    std::vector<HostExecutor::Ticket> tickets;
    std::vector<HardResult> results;
    for (int layer = 0; layer < 4; ++layer) {
      requests.push_back(request_of_bits(8));
      tickets.push_back(executor.submit(requests.back()));
    }
    // Held, the device uses none of the results before their staging buffers are given to others.
    std::latch may_go_on(1);
    device.stream().launch([&] { may_go_on.wait(); });
    for (const int layer : {2, 0, 3, 1}) results.push_back(executor.wait(tickets[layer]));
    requests.push_back(request_of_bits(8));
    const auto ticket = executor.submit(requests.back());
    may_go_on.count_down();
    results.push_back(executor.wait(ticket));
    device.stream().synchronize();
    const int order[] = {2, 0, 3, 1, 4};
    for (int i = 0; i < 5; ++i) expect_equal(results[i], on_the_host(requests[order[i]]));
  }
  EXPECT_EQ(executor.num_staging_buffers(), 4);
  EXPECT_EQ(executor.staging_bytes(), 4 * bytes_of_one);
}

// What the host waits for while the device is busy does not count; what the device waits for does, once it has.
TEST(StandInDevice, WaitingIsCountedInTheDevicesTime) {
  StandInDevice device;
  HostExecutor executor(1, device.transfers());
  const auto ticket = executor.submit(request_of_bits(8));
  std::latch may_end(1);
  device.stream().launch([&] { may_end.wait(); });
  executor.wait(ticket);
  EXPECT_EQ(executor.waited_ms(), 0);
  may_end.count_down();
  device.stream().synchronize();
  EXPECT_GT(executor.waited_ms(), 0);
}

TEST(StandInDevice, AFailedOrDroppedJobLeavesTheExecutorUsable) {
  StandInDevice device;
  HostExecutor executor(2, device.transfers());
  executor.set_hooks({[] { throw std::runtime_error("a worker failed"); }, {}, {}});
  EXPECT_THROW(executor.wait(executor.submit(request_of_bits(8))), std::runtime_error);
  executor.set_hooks({});
  executor.submit(request_of_bits(8));
  const MatchRequest request = request_of_bits(8);
  const auto ticket = executor.submit(request);
  const HardResult result = executor.wait(ticket);
  device.stream().synchronize();
  expect_equal(result, on_the_host(request));
  EXPECT_THROW(executor.wait(ticket), base::ArgumentError);
  EXPECT_GE(executor.waited_ms(), 0);
}

}  // namespace
}  // namespace rosa
