#include "base/trace.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "tests/support/temporary_folder.h"

namespace {

using namespace rosa::base;

TEST(Trace, SpansOfThreadsAndTracksAreReadBack) {
  const rosa::testing::TemporaryFolder folder;
  const auto file = folder / "trace.json";
  name_trace_thread("main");
  { const TraceSpan ignored("step", "before the trace"); }
  start_trace(file, 3);
  {
    const TraceSpan outer("step", "step", {{"step", 7}});
    std::thread([] {
      name_trace_thread("automaton 0");
      const TraceSpan span("matching", "match", {{"layer", 2}});
    }).join();
    const auto now = std::chrono::steady_clock::now();
    trace_span("device", "proxy", now, now + std::chrono::milliseconds(2), {}, "device");
  }
  stop_trace();
  { const TraceSpan ignored("step", "after the trace"); }

  std::ifstream stream(file);
  const auto events = nlohmann::json::parse(stream);
  std::map<std::string, nlohmann::json> spans;
  std::map<int, std::string> lines;
  for (const auto& event : events) {
    if (event.value("ph", "") == "X") spans[event["name"]] = event;
    if (event.value("name", "") == "thread_name") lines[event["tid"]] = event["args"]["name"];
  }
  ASSERT_EQ(spans.size(), 3U);
  for (const auto& [name, span] : spans) EXPECT_EQ(span["pid"], 3) << name;
  EXPECT_EQ(spans["step"]["args"]["step"], 7);
  EXPECT_EQ(spans["match"]["cat"], "matching");
  EXPECT_EQ(lines[spans["step"]["tid"]], "main");
  EXPECT_EQ(lines[spans["match"]["tid"]], "automaton 0");
  EXPECT_EQ(lines[spans["proxy"]["tid"]], "device");
  EXPECT_NEAR(spans["proxy"]["dur"].get<double>(), 2000.0, 1e-6);
  EXPECT_GE(spans["step"]["dur"].get<double>(), spans["match"]["dur"].get<double>());
}

std::vector<nlohmann::json> spans_of(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::vector<nlohmann::json> spans;
  for (const auto& event : nlohmann::json::parse(stream)) {
    if (event.value("ph", "") == "X") spans.push_back(event);
  }
  return spans;
}

void trace_steps(const std::filesystem::path& file, int rank, TraceWindow window, int num_steps) {
  start_trace(file, rank, window);
  { const TraceSpan ignored("step", "before the first step"); }
  for (int step = 10; step < 10 + num_steps; ++step) {
    begin_trace_step(step);
    const TraceSpan span("step", "step");
  }
}

TEST(Trace, TheWindowBoundsTheFileAndSpansNameTheirStep) {
  const rosa::testing::TemporaryFolder folder;
  trace_steps(folder / "trace.json", 0, {.num_skipped = 2, .num_steps = 3}, 8);
  stop_trace();
  std::vector<int> steps;
  for (const auto& span : spans_of(folder / "trace.json")) steps.push_back(span["args"]["step"]);
  EXPECT_EQ(steps, (std::vector<int>{12, 13, 14}));
}

TEST(Trace, PartsAreMergedAlsoWhereOneWasCutOff) {
  const rosa::testing::TemporaryFolder folder;
  trace_steps(folder / "0.json", 0, {.num_steps = 2}, 2);
  stop_trace();
  trace_steps(folder / "1.json", 1, {.num_steps = 2}, 3);
  // As a kill leaves it: the steps that ended are there, in an array that is whole.
  std::filesystem::copy(folder / "1.json", folder / "killed.json");
  stop_trace();
  EXPECT_EQ(spans_of(folder / "killed.json").size(), 2U);
  merge_traces({folder / "0.json", folder / "killed.json"}, folder / "merged.json");
  const auto spans = spans_of(folder / "merged.json");
  ASSERT_EQ(spans.size(), 4U);
  EXPECT_EQ(spans.front()["pid"], 0);
  EXPECT_EQ(spans.back()["pid"], 1);
  EXPECT_EQ(spans.back()["args"]["step"], 11);
  EXPECT_THROW(merge_traces({folder / "none.json"}, folder / "merged.json"), FileError);
}

// Viewers differ in what they forgive: every event says its kind, and the array ends as JSON does.
TEST(Trace, EveryEventHasItsKindAfterEveryStepAndInTheEnd) {
  const rosa::testing::TemporaryFolder folder;
  const auto check = [&] {
    std::ifstream stream(folder / "trace.json");
    const auto events = nlohmann::json::parse(stream);
    for (const auto& event : events) EXPECT_TRUE(event.contains("ph")) << event;
    return events.size();
  };
  start_trace(folder / "trace.json", 0);
  const std::string long_name(50000, 'x');  // two such are more than is kept back
  size_t num_events = check();
  for (int step = 0; step < 3; ++step) {
    begin_trace_step(step);
    { const TraceSpan span("step", long_name.c_str()); }
    const size_t now = check();
    EXPECT_GE(now, num_events);
    num_events = now;
  }
  stop_trace();
  EXPECT_EQ(check(), num_events + 1);
}

TEST(Trace, AFileThatCannotBeOpenedIsAnError) { EXPECT_THROW(start_trace("/no/such/folder/trace.json", 0), FileError); }

}  // namespace
