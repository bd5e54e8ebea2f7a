// Runs whose base weights are shared out, and what must hold of them, over threads and over MPI.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "small_run.h"
#include "training/plan/wire.h"
#include "training/run_identity.h"

namespace rosa::training {

using base::concat;

// What a run gave, on its rank 0.
struct Outcome : Recorder {
  void on_step(const StepMetrics& metrics) override {
    Recorder::on_step(metrics);
    last = metrics;
  }
  StepMetrics last;
};

struct SharedRun {
  std::string name;
  std::function<void(RunConfig&)> change;
  RunConfig config(const std::filesystem::path& folder) const {
    RunConfig config = tiny_config(folder);
    config.train.num_steps = 4;
    config.train.micro_batches = 6;
    config.evaluation.every = 2;  // of 5 sequences, which 2 and 3 ranks do not divide
    change(config);
    return config;
  }
};

inline const std::vector<SharedRun>& shared_runs() {
  const auto untied = [](RunConfig& config) {
    config.model.folder = std::filesystem::path(ROSA_TEST_DATA) / "goldens" / "qwen3_untied_sharded";
  };
  static const std::vector<SharedRun> kRuns = {
      {"tied", [](RunConfig&) {}},
      {"tied_checkpointing",
       [](RunConfig& config) { config.train.activation_checkpointing = models::ActivationCheckpointing::full; }},
      {"untied", untied},
      {"untied_checkpointing_lora",
       [untied](RunConfig& config) {
         untied(config);
         config.train.activation_checkpointing = models::ActivationCheckpointing::full;
         config.lora.rank = 2;
         config.lora.patterns = {"*.mlp.*"};
       }},
      {"bfloat16_gates_alignment",
       [](RunConfig& config) {
         config.model.compute_dtype = "bfloat16";
         config.adapter = {};
         config.adapter.num_heads = 4;
         config.adapter.query_key_bits = 4;
         config.adapter.value_bits = 4;
         config.schedules.alpha = {.start = 1.0};
         config.loss.alignment = 0.5;
       }},
      {"own_teacher",
       [](RunConfig& config) {
         config.teacher.folder = std::filesystem::path(ROSA_TEST_DATA) / "goldens" / "qwen3_untied_sharded";
       }},
  };
  return kRuns;
}

inline void train_shared(const RunConfig& config, parallel::Communicator& communicator, Outcome& outcome) {
  ASSERT_EQ(train(config, outcome, 0, &communicator), RunOutcome::finished);
}

// `shared` is of `num_ranks` ranks with shard_base, `one` of one rank without.
inline void expect_shared_run(const SharedRun& of, const RunConfig& config, int num_ranks, const Outcome& one,
                              const Outcome& shared) {
  EXPECT_EQ(shared.losses, one.losses);
  EXPECT_EQ(shared.evaluations, one.evaluations);
  for (const auto& entry : std::filesystem::directory_iterator(one.last_checkpoint)) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto name = entry.path().filename();
    EXPECT_EQ(base::file_checksum(shared.last_checkpoint / name), base::file_checksum(entry.path())) << name;
  }
  ASSERT_EQ(shared.last.base_part_bytes.has_value(), num_ranks > 1);
  if (num_ranks == 1) return;
  EXPECT_GE(*shared.last.base_gather_wait_ms, 0.0);
  EXPECT_GE(shared.last.communication_wait_ms, *shared.last.base_gather_wait_ms);
  if (of.name == "own_teacher" || config.loss.alignment > 0) return;
  // A part of all layers and two whole ones; and on the wire what the plan says.
  const models::ModelConfig model = models::load_model_config(config.model.folder);
  const double all = static_cast<double>(num_projection_weights(model)) * 4;
  EXPECT_NEAR(static_cast<double>(*shared.last.base_part_bytes),
              all / num_ranks + 2 * all / static_cast<double>(model.num_hidden_layers), 0.01 * all);
  const double planned = base_wire_bytes(config, model, nullptr, num_ranks, 1).by_rank;
  EXPECT_LE(static_cast<double>(*shared.last.base_gather_bytes), planned * 1.01);
  EXPECT_GE(static_cast<double>(*shared.last.base_gather_bytes), planned * 0.99);
}

}  // namespace rosa::training
