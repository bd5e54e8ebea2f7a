// Random faults over small runs: after each one the job is gone within its deadline and leaves nobody behind, the next
// start goes on from no earlier than the newest checkpoint that stood, and a finished run has the bytes of one that was
// never disturbed. Prints every fault.
//   ROSA_SOAK_FAULTS   how many (default 100)
//   ROSA_SOAK_SEED     what they are drawn from (default: the time); the same seed draws the same faults, but
//                      those from outside hit wherever the run happens to be
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/tiny_run.h"

namespace rosa::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kNumSteps = 24;
constexpr int kExitConfiguration = 2;

int64_t number_of_environment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

int64_t newest_step(const fs::path& folder) {
  int64_t newest = -1;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder / "checkpoints", error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step_") && name.size() == 13) newest = std::max<int64_t>(newest, std::stoll(name.substr(5)));
  }
  return newest;
}

// What is done to one start of a run.
struct Fault {
  std::string inside;         // ROSA_FAULT
  int signal = 0, rank = -1;  // from outside: to this rank, or to mpirun (-1)
  double after_s = 0.0;       // from the time at which the run is there
  std::string describe() const {
    if (!inside.empty()) return inside;
    return std::string("signal ") + strsignal(signal) + (rank < 0 ? " to mpirun" : " to rank " + std::to_string(rank)) +
           " after " + std::to_string(after_s) + " s";
  }
};

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  int64_t below(int64_t count) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(count)); }
  template <class Value, std::size_t size>
  Value any_of(const std::array<Value, size>& values) {
    return values[static_cast<std::size_t>(below(size))];
  }

 private:
  std::mt19937_64 engine_;
};

Fault draw_fault(Dice& dice, int num_ranks, int64_t first_step) {
  static constexpr std::array kInside = {"kill", "stop", "throw", "segv", "exit", "loop", "usr1", "term", "int"};
  static constexpr std::array kPhases = {
      "data", "teacher_forward", "student_forward", "backward", "reduce", "optimizer", "saving", "end", "left"};
  static constexpr std::array kOutside = {SIGKILL, SIGSTOP, SIGUSR1, SIGTERM, SIGINT};
  Fault fault;
  fault.rank = static_cast<int>(dice.below(num_ranks));
  if (dice.below(3) > 0) {
    // At a step that is still to come; a save happens after every second one.
    const int64_t step = first_step + dice.below(std::max<int64_t>(1, kNumSteps - first_step));
    const std::string what = dice.any_of(kInside);
    fault.inside = "do=" + what + " rank=" + std::to_string(fault.rank) + " step=" + std::to_string(step) +
                   "- phase=" + dice.any_of(kPhases);
    return fault;
  }
  fault.signal = dice.any_of(kOutside);
  if (dice.below(3) == 0 && fault.signal != SIGSTOP) fault.rank = -1;
  fault.after_s = static_cast<double>(dice.below(1000)) / 1000.0;
  return fault;
}

JobResult run_with(const TinyRun& run, int num_ranks, const Fault& fault, bool saved) {
  JobOptions options{.num_ranks = num_ranks, .launcher_options = {"--quiet"}};
  if (!fault.inside.empty()) options.environment["ROSA_FAULT"] = fault.inside;
  Job job(run.train_command({"failures.heartbeat_s=1", "failures.hang_after_heartbeats=5"}), options);
  if (fault.signal != 0 && job.wait_for_output(saved ? "resumed" : "starting")) {
    std::this_thread::sleep_for(Seconds(fault.after_s));
    if (fault.rank < 0) {
      job.send_signal(fault.signal);
    } else {
      try {
        job.send_signal_to_rank(fault.rank, fault.signal, Seconds(0.0));
      } catch (const std::runtime_error&) {  // the run was faster
      }
    }
  }
  return job.wait(Seconds(300));
}

TEST(Soak, NoFaultHangsTheJobOrLosesACheckpoint) {
  const int64_t num_faults = number_of_environment("ROSA_SOAK_FAULTS", 100);
  const int64_t seed =
      number_of_environment("ROSA_SOAK_SEED", std::chrono::system_clock::now().time_since_epoch().count());
  std::cout << "soak of " << num_faults << " faults, ROSA_SOAK_SEED=" << seed << std::endl;
  const TemporaryFolder work;
  Dice dice(static_cast<uint64_t>(seed));
  const TinyRun undisturbed(work / "undisturbed", kNumSteps);
  ASSERT_EQ(run_job(undisturbed.train_command()).exit_code, 0);
  const std::string expected = text_of_file(undisturbed.checkpoint(kNumSteps) / "adapter.safetensors");
  ASSERT_FALSE(expected.empty());

  double longest_s = 0.0, longest_orphan_s = 0.0;
  int num_finished = 0, num_hit = 0;
  std::map<int, int> exit_codes;
  for (int num_runs = 0; num_hit < num_faults; ++num_runs) {
    const TinyRun run(work / ("run_" + std::to_string(num_runs)), kNumSteps);
    for (bool finished = false; !finished;) {
      const int64_t saved_before = newest_step(run.folder());
      const int num_ranks = static_cast<int>(int64_t{1} << dice.below(3));
      const Fault fault = draw_fault(dice, num_ranks, std::max<int64_t>(0, saved_before));
      std::cout << num_hit << ": " << num_ranks << " ranks, " << fault.describe() << std::flush;
      const JobResult result = run_with(run, num_ranks, fault, saved_before >= 0);
      const int64_t saved_after = newest_step(run.folder());
      std::cout << ": exit code " << result.exit_code << " after " << result.seconds << " s, all gone "
                << result.orphan_seconds << " s later, checkpoint " << saved_before << " -> " << saved_after
                << std::endl;
      SCOPED_TRACE(result.output);
      ASSERT_FALSE(result.timed_out);
      ASSERT_NE(result.exit_code, kExitConfiguration) << "the fault was not understood";
      ASSERT_THAT(result.orphans, ::testing::IsEmpty());
      ASSERT_GE(saved_after, saved_before);
      std::smatch resumed;
      if (std::regex_search(result.output, resumed, std::regex("after ([0-9]+) of"))) {
        ASSERT_GE(std::stoll(resumed[1]), saved_before);
      } else if (saved_before >= 0) {
        ASSERT_THAT(result.output, ::testing::Not(::testing::HasSubstr("no checkpoint in"))) << "a silent fresh start";
      }
      longest_s = std::max(longest_s, result.seconds);
      longest_orphan_s = std::max(longest_orphan_s, result.orphan_seconds);
      ++exit_codes[result.exit_code];
      finished = result.exit_code == 0 && saved_after == kNumSteps;
      if (!finished) ++num_hit;
    }
    ASSERT_TRUE(text_of_file(run.checkpoint(kNumSteps) / "adapter.safetensors") == expected) << "run " << num_runs;
    fs::remove_all(run.folder());
    ++num_finished;
  }
  std::cout << num_hit << " faults, " << num_finished << " runs finished with the undisturbed run's bytes; longest job "
            << longest_s << " s, longest time until all were gone " << longest_orphan_s << " s\nexit codes:";
  for (const auto& [code, count] : exit_codes) std::cout << "  " << code << ": " << count;
  std::cout << std::endl;
}

}  // namespace
}  // namespace rosa::testing
