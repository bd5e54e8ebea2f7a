// The host executor beside a device. A stand-in device (rosa/operator/stand_in_device.h) packs, runs a proxy that takes
// RATIO/100 of the time of the matching, and waits for the results, one layer after the other.
//   matching                 submit and wait at once: the matching alone, and what it costs to hand it over
//   exposed                  counter "exposed": the share of the matching's time in which the device had nothing to do
//   submit                   the time until submit() returns
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <chrono>
#include <map>

#include "rosa/operator/host_executor.h"
#include "rosa/operator/stand_in_device.h"

namespace rosa {
namespace {

constexpr int64_t kBatch = 2, kHeads = 16, kNumLayers = 8;

MatchRequest make_request(int64_t length, int64_t layer) {
  at::manual_seed(static_cast<uint64_t>(layer));
  MatchRequest request;
  request.query_symbols = at::randint(0, 256, {kBatch, kHeads, length}, at::kByte);
  request.key_symbols = at::randint(0, 256, {kBatch, kHeads, length}, at::kByte);
  request.value_symbols = at::randint(0, 256, {kBatch, kHeads, length}, at::kByte);
  request.symbol_bits = request.value_bits = 8;
  request.layer = layer;
  return request;
}

std::vector<MatchRequest> make_requests(int64_t length) {
  std::vector<MatchRequest> requests;
  for (int64_t layer = 0; layer < kNumLayers; ++layer) requests.push_back(make_request(length, layer));
  return requests;
}

using Milliseconds = std::chrono::duration<double, std::milli>;

// The median time of one request's matching on an otherwise idle executor.
double matching_ms(HostExecutor& executor, const std::vector<MatchRequest>& requests) {
  std::vector<double> times;
  for (int repeat = 0; repeat < 5; ++repeat) {
    for (const MatchRequest& request : requests) {
      const auto start = std::chrono::steady_clock::now();
      executor.wait(executor.submit(request));
      times.push_back(Milliseconds(std::chrono::steady_clock::now() - start).count());
    }
  }
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

void matching(benchmark::State& state) {
  HostExecutor executor(1);
  const std::vector<MatchRequest> requests = make_requests(state.range(0));
  for (auto _ : state) {
    for (const MatchRequest& request : requests) executor.wait(executor.submit(request));
  }
  state.SetItemsProcessed(state.iterations() * kNumLayers * kBatch * kHeads * state.range(0));
}
BENCHMARK(matching)->ArgName("T")->Arg(256)->Arg(1024)->Arg(4096)->UseRealTime()->Unit(benchmark::kMillisecond);

void exposed(benchmark::State& state) {
  const int64_t length = state.range(0);
  const std::vector<MatchRequest> requests = make_requests(length);
  HostExecutor alone(1);
  const double alone_ms = matching_ms(alone, requests);
  const auto proxy_time = std::chrono::duration_cast<std::chrono::nanoseconds>(
      Milliseconds(alone_ms * static_cast<double>(state.range(1)) / 100));
  StandInDevice device({.bytes_per_second = 20e9, .copy_latency = std::chrono::microseconds(10)});
  HostExecutor executor(1, device.transfers());
  executor.wait(executor.submit(requests.front()));  // makes the staging buffer
  device.stream().synchronize();
  const double before_ms = executor.waited_ms();
  for (auto _ : state) {
    for (const MatchRequest& request : requests) {
      const auto ticket = executor.submit(request);
      device.stream().launch([] {}, proxy_time);
      benchmark::DoNotOptimize(executor.wait(ticket));
    }
    device.stream().synchronize();
  }
  const double exposed_ms = (executor.waited_ms() - before_ms) / static_cast<double>(state.iterations() * kNumLayers);
  state.counters["matching_ms"] = alone_ms;
  state.counters["exposed_ms"] = exposed_ms;
  state.counters["exposed"] = exposed_ms / alone_ms;
}
BENCHMARK(exposed)
    ->ArgNames({"T", "proxy_percent"})
    ->ArgsProduct({{1024, 4096}, {0, 50, 100, 200, 400}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void submit(benchmark::State& state) {
  StandInDevice device;
  HostExecutor executor(1, device.transfers());
  const MatchRequest request = make_request(state.range(0), 0);
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    const auto ticket = executor.submit(request);
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    executor.wait(ticket);
    device.stream().synchronize();
  }
}
BENCHMARK(submit)->ArgName("T")->Arg(1024)->UseManualTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace rosa

int main(int argc, char** argv) {
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
