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

TEST(Trace, AFileThatCannotBeOpenedIsAnError) { EXPECT_THROW(start_trace("/no/such/folder/trace.json", 0), FileError); }

}  // namespace
