// ExperimentFolder: a folder as `rosa experiment` leaves it, small and made up, to be changed and damaged by tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace rosa::testing {

class ExperimentFolder {
 public:
  using Json = nlohmann::ordered_json;

  explicit ExperimentFolder(const std::string& task = "gate_only") {
    description_ = {
        {"task", task},          {"title", "A comparison"}, {"description", "What it is."},
        {"command", "rosa ..."}, {"machine", "a CPU"},      {"commit", "abc123"},
        {"world_size", 2},       {"date", "2026-11-25"},    {"settings", {{"num_steps", 100}, {"seconds", 2.0}}},
        {"arms", Json::array()}, {"seeds", {0, 1}}};
    write_description();
  }

  const std::filesystem::path& path() const { return folder_.path(); }
  Json& description() { return description_; }
  void write_description() { write("experiment.json", description_.dump()); }

  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  void write_lines(const std::string& name, const std::vector<Json>& lines) const {
    std::string text;
    for (const Json& line : lines) text += line.dump() + "\n";
    write(name, text);
  }

  void add_arm(const std::string& label, const std::string& estimator, const std::string& scope = "", int samples = 1) {
    description_["arms"].push_back({{"label", label},
                                    {"estimator", estimator},
                                    {"scope", scope},
                                    {"num_samples", samples},
                                    {"evaluations", 2.0},
                                    {"note", ""}});
    write_description();
  }

  // A run with ten lines of losses that fall from 1 to `loss`, a second apart; finished unless `is_finished` is false.
  void add_run(const std::string& folder, double loss, bool is_finished = true) const {
    std::vector<Json> lines;
    for (int i = 1; i <= 10; ++i) {
      const double now = 1 + (loss - 1) * i / 10;
      lines.push_back({{"kind", "step"}, {"step", 10 * i}, {"loss", now}, {"seconds", i}, {"step_ms", 100}});
    }
    lines.push_back({{"kind", "linearisation"}, {"step", 100}, {"correlation", 0.9}});
    write_lines(folder + "/metrics.jsonl", lines);
    if (is_finished) write(folder + "/result.json", result(loss).dump());
  }
  static Json result(double loss) {
    const Json score = {{"steps", 100},    {"seconds", 10},      {"loss", loss},
                        {"accuracy", 0.5}, {"zeroed_loss", 1.5}, {"zeroed_accuracy", 0.25}};
    return {{"label", "x"},
            {"seed", 0},
            {"num_steps", 100},
            {"seconds", 10.0},
            {"steps_per_second", 10},
            {"step_ms", {{"mean", 12}, {"p50", 11}, {"p90", 14}}},
            {"equal_steps", score},
            {"equal_time", score},
            {"best_loss", loss - 0.1},
            {"final_loss", loss}};
  }

  // `none` and two estimators with two finished runs each.
  void add_usual_arms() {
    add_arm("none", "none");
    add_arm("flip/causal", "flip", "causal");
    add_arm("disarm/joint K2", "disarm", "joint", 2);
    const std::pair<const char*, double> runs[] = {{"none-seed0", 1.2},
                                                   {"none-seed1", 1.4},
                                                   {"flip_causal-seed0", 0.4},
                                                   {"flip_causal-seed1", 0.6},
                                                   {"disarm_joint_K2-seed0", 0.8},
                                                   {"disarm_joint_K2-seed1", 0.9}};
    for (const auto& [name, loss] : runs) add_run(name, loss);
  }

 private:
  TemporaryFolder folder_;
  Json description_;
};

}  // namespace rosa::testing
