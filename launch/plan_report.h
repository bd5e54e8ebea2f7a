// What `rosa plan` says of a plan: as findings for people, and as JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/findings.h"
#include "training/plan/run_plan.h"
#include "training/stages.h"

namespace rosa::launch {

// The training data, as far as its headers tell.
struct PlanData {
  std::optional<int64_t> num_sequences;
  std::vector<std::pair<std::string, double>> epochs;  // of the run, by source; one without a name: of the only one
  std::string text, warning;
};

// What a micro-batch may be, by the two ways to make room.
struct PlanFit {
  int64_t memory_bytes = 0;  // of a rank; 0: not known, and so is the rest
  bool fits = false;
  int64_t as_configured = 0, checkpointed = 0, sharded = 0, both = 0;
};

struct PlanView {
  const training::PlanInput& input;
  const training::RunPlan& plan;
  PlanFit fit;
  PlanData data;
  int64_t free_bytes = 0;  // of the run folder's disk
  int ranks_of_host = 1;
  bool memory_is_given = false;  // PlanFit::memory_bytes, by an option
  double bandwidth_gbit = 0.0;
};

void print_plan(const PlanView& view);
nlohmann::json plan_json(const PlanView& view);

// Of all stages of a run.
struct PlanTotals {
  int64_t num_steps = 0, peak_bytes = 0;
  int64_t num_checkpoints = 0, checkpoint_bytes = 0;  // at once, at most; of one
  double num_tokens = 0.0, flops = 0.0;
  std::string fullest;  // the stage of the peak

  void add(const training::Stage& stage, const training::RunPlan& plan, bool on_gpu);
  std::vector<Finding> findings() const;
  nlohmann::json as_json() const;
};

}  // namespace rosa::launch
