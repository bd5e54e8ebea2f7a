// A run of seconds in this process, and an observer that remembers what it was told.
#pragma once

#include <ATen/Parallel.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "parallel/single_communicator.h"
#include "parallel/thread_communicator.h"
#include "training/run.h"
#include "training/run_rules.h"

namespace rosa::training {

// Remembers what it was told.
class Recorder : public TrainingObserver {
 public:
  void on_start(int64_t first_step, int64_t) override { first_steps.push_back(first_step); }
  void on_step(const StepMetrics& metrics) override { losses[metrics.step] = metrics.loss; }
  void on_evaluation(const EvaluationMetrics& metrics) override { evaluations[metrics.step] = metrics.ce; }
  void on_checkpoint(int64_t, const std::filesystem::path& folder) override { last_checkpoint = folder; }
  void on_notice(const std::string& text) override { notices += text + "\n"; }
  void on_end() override {}

  std::vector<int64_t> first_steps;
  std::map<int64_t, double> losses, evaluations;
  std::filesystem::path last_checkpoint;
  std::string notices;
};

inline RunConfig tiny_config(const std::filesystem::path& folder) {
  RunConfig config;
  config.run.folder = folder.string();
  config.run.seed = 3;
  config.model.folder = std::filesystem::path(ROSA_TEST_DATA) / "goldens" / "qwen3_tied";
  config.student.sliding_window = 6;
  config.adapter = models::plain_adapter_config();
  config.adapter.num_heads = 4;
  config.adapter.query_key_bits = 4;
  config.adapter.value_bits = 4;
  config.data.kind = DataKind::phrases;
  config.data.sequence_length = 24;
  config.data.min_phrase_length = 3;
  config.data.max_phrase_length = 4;
  config.train.num_steps = 6;
  config.train.micro_batches = 12;
  config.loss.distill_alpha = 0.5;
  config.schedules.learning_rate.start = 1e-2;
  config.schedules.alpha = {.shape = ScheduleShape::linear, .start = 0.5, .end = 1.0};
  config.evaluation = {.every = 3, .num_sequences = 5};
  config.checkpoint.every = 100;
  config.compute.automaton_threads = 2;
  return config;
}

// Trains `run`, a RunConfig or Stages, until `stop_after` steps are done (0: to the end).
template <class Run>
RunOutcome train(const Run& run, Recorder& recorder, int64_t stop_after = 0,
                 parallel::Communicator* communicator = nullptr, const std::set<std::string>& accept_changed = {}) {
  const auto single = parallel::make_single_communicator();
  const RunContext context{
      .communicator = communicator ? *communicator : *single,
      .observer = recorder,
      .stop_requested = [&] { return stop_after > 0 && static_cast<int64_t>(recorder.losses.size()) >= stop_after; },
      .resolved_config = "text",
      .accept_changed = accept_changed};
  return train_run(run, Objective::distill, context);
}

// The same to the end on two ranks; `recorder` is rank 0's.
template <class Run>
void train_on_two_ranks(const Run& run, Recorder& recorder) {
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    at::set_num_threads(1);
    Recorder other;
    train(run, communicator.rank() == 0 ? recorder : other, 0, &communicator);
  });
}

// What the rules say of a configuration, with its model and data; empty where they are kept.
inline std::string problems_of(const RunConfig& config, Objective objective = Objective::distill) {
  try {
    check_before_training(config, objective, 1);
  } catch (const base::ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace rosa::training
