// Evaluation on held-out sequences: cross-entropy of teacher, window-only student, student with ROSA, and its controls,
// on all tokens and on recallable ones.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/adapter.h"
#include "models/qwen3.h"
#include "parallel/communicator.h"
#include "rosa/operator/host_executor.h"
#include "training/config.h"
#include "training/data/data_source.h"

namespace rosa::training {

// What a run works on; everything outlives it.
struct RunParts {
  const models::Qwen3& model;    // teacher, and base of the student
  models::AdapterSet* adapters;  // null: the base itself is trained, with global attention (pretraining)
  const DataSource& training_data;
  const DataSource& held_out_data;
  parallel::Communicator& communicator;
  HostExecutor& executor;
  at::Device device = at::kCPU;
};

// Sums of one variant; `recallable` counts only where the data has the mask.
struct VariantScore {
  double ce_sum = 0.0, num_tokens = 0.0;
  double recallable_ce_sum = 0.0, num_recallable = 0.0;

  double ce() const { return num_tokens > 0 ? ce_sum / num_tokens : 0.0; }
  double recallable_ce() const { return num_recallable > 0 ? recallable_ce_sum / num_recallable : 0.0; }
};

// teacher; window: the student without adapters; rosa: with them (hard operator); and rosa's controls: its operator's
// output zeroed, its values shuffled within the sequence, its matches limited to the attention window.
inline const std::vector<std::string> kAllVariants = {"teacher",     "window",        "rosa",
                                                      "rosa_zeroed", "rosa_shuffled", "rosa_windowed"};

// How the student runs: window, adapters, executor.
models::ForwardOptions student_options(const RunConfig& config, const models::AdapterSet* adapters,
                                       HostExecutor& executor);

// Scores of the named variants over evaluation.num_sequences held-out sequences, shared out over the ranks; equal on
// every rank. Collective: every rank calls it. Throws ArgumentError for an unknown variant, or one that needs adapters
// where there are none.
std::map<std::string, VariantScore> evaluate_variants(const RunConfig& config, const RunParts& parts,
                                                      const std::vector<std::string>& variants);

// (ce_window - ce_student) / (ce_window - ce_teacher), in nats; 0 where window and teacher are equal.
double gap_closed(double ce_window, double ce_student, double ce_teacher);

}  // namespace rosa::training
