// RunFolder: a folder as a training run leaves it, small and made up, to be changed and damaged by tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace rosa::testing {

class RunFolder {
 public:
  using Json = nlohmann::ordered_json;

  RunFolder() { write("run.json", R"({"last_saved_step":20,"run_id":"0123456789abcdef"})"); }

  const std::filesystem::path& path() const { return folder_.path(); }

  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  void write_metrics(const std::vector<Json>& lines, const std::string& torn_end = "") const {
    std::string text;
    for (const Json& line : lines) text += line.dump() + "\n";
    write("metrics.jsonl", text + torn_end);
  }

  static Json step(int64_t number, double loss) {
    return {{"kind", "step"},         {"step", number},
            {"loss", loss},           {"kl", loss / 2},
            {"ce", loss / 4},         {"gradient_norm", 1.5},
            {"learning_rate", 0.01},  {"alpha", 1.0},
            {"num_skipped", 0},       {"num_spikes", 0},
            {"step_ms", 20.0},        {"tokens_per_second", 1000.0},
            {"match_wait_ms", 4.0},   {"communication_wait_ms", 6.0},
            {"memory_bytes", 3 << 20}};
  }
  static Json layer(int64_t number, double matched_share) {
    return {{"layer", number},
            {"matched_share", matched_share},
            {"mean_match_length", 2.5},
            {"query_entropy", 7.0},
            {"key_entropy", 6.0},
            {"dead_query_bits", 0.25},
            {"constant_query_bits", 0.5},
            {"dead_key_bits", 0.0},
            {"constant_key_bits", 0.125},
            {"agreement", 0.75}};
  }
  static Json evaluation(int64_t step, double ce) {
    return {{"kind", "evaluation"}, {"step", step}, {"ce", ce}, {"perplexity", 2 * ce}, {"num_tokens", 64}};
  }
  static double nan() { return std::numeric_limits<double>::quiet_NaN(); }

 private:
  TemporaryFolder folder_;
};

}  // namespace rosa::testing
