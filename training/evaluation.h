// Evaluation on held-out sequences: cross-entropy of teacher, window-only student, student with ROSA, and its controls,
// on all tokens and on recallable ones.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/adapter.h"
#include "models/causal_model.h"
#include "parallel/communicator.h"
#include "rosa/operator/host_executor.h"
#include "training/config.h"
#include "training/data/data_source.h"
#include "training/shared_layers.h"

namespace rosa::training {

// What a run works on; everything outlives it.
struct RunParts {
  const models::CausalModel& model;  // base of the student
  models::AdapterSet* adapters;      // null: the base itself is trained, with global attention (pretraining)
  const DataSource& training_data;
  const DataSource& held_out_data;
  parallel::Communicator& communicator;
  HostExecutor& executor;
  at::Device device = at::kCPU;
  const models::CausalModel* own_teacher = nullptr;  // null: the base is the teacher, too
  std::vector<SharedLayers*> shared_layers = {};     // of base model and teacher, where ranks share weights out

  const models::CausalModel& teacher() const { return own_teacher != nullptr ? *own_teacher : model; }
  // The model that a variant of an evaluation runs.
  const models::CausalModel& model_of(const std::string& variant) const {
    return variant == "teacher" ? teacher() : model;
  }
};

// Summed cross-entropy of some tokens, in nats, and their number.
struct TokenSums {
  double ce = 0.0, count = 0.0;

  double mean() const { return count > 0 ? ce / count : 0.0; }
  void add(const TokenSums& other);
};

// The same of many sequences, and by group of them (the sequence's number modulo kNumGroups), which tells how much of a
// difference is chance.
struct SequenceSums {
  static constexpr size_t kNumGroups = 16;
  TokenSums total;
  std::array<TokenSums, kNumGroups> groups;

  void add(int64_t sequence, const TokenSums& sums);
};

// What one variant reached; `recallable` counts only where the data has the mask.
struct VariantScore {
  SequenceSums all, recallable;
  int64_t num_sequences = 0;

  double ce() const { return all.total.mean(); }
};

using Scores = std::map<std::string, VariantScore>;

// teacher; window: the student without adapters; rosa: with them (hard operator); and rosa's controls: its operator's
// output zeroed, its values shuffled within the sequence, its matches limited to the attention window.
inline const std::vector<std::string> kAllVariants = {"teacher",     "window",        "rosa",
                                                      "rosa_zeroed", "rosa_shuffled", "rosa_windowed"};

// Which held-out sequences an evaluation scores: a file that makes no more than evaluation.num_sequences of them is
// gone through once from end to end.
class HeldOutSequences {
 public:
  // Throws ConfigError where evaluation.num_sequences does not fit the data. `data` outlives it.
  HeldOutSequences(const RunConfig& config, const DataSource& data);

  int64_t size() const { return num_; }
  // first + count at most size().
  Batch batch(int64_t first, int64_t count) const;

 private:
  const DataSource& data_;
  int64_t num_ = 0;
  bool is_whole_ = false;  // a file, each sequence once
};

// bool [n,T]: tokens that a token before them predicts.
at::Tensor counted_tokens(const Batch& batch);

// How a variant runs. Throws ArgumentError for an unknown one, or one that needs adapters where there are none.
models::ForwardOptions variant_options(const RunConfig& config, const RunParts& parts, const std::string& variant);

// How the student runs: window, adapters, executor.
models::ForwardOptions student_options(const RunConfig& config, const models::CausalModel& model,
                                       const models::AdapterSet* adapters, HostExecutor& executor);

// Scores of the named variants over evaluation.num_sequences held-out sequences, shared out over the ranks; equal on
// every rank. A file that makes no more sequences than that is scored once from end to end. Memory does not grow with
// their number. Collective: every rank calls it. Throws ArgumentError for an unknown variant, or one that needs
// adapters where there are none; else as check_held_out_data does.
Scores evaluate_variants(const RunConfig& config, const RunParts& parts, const std::vector<std::string>& variants);

// Throws ConfigError where evaluation.num_sequences does not fit the data and DataError where no token of them can be
// scored: what evaluate_variants would find, at the start of a run.
void check_held_out_data(const RunConfig& config, const DataSource& data);

// Throws NumericError where a score is not finite; it names the variant, and the weight it comes from if one is not
// finite.
void require_finite_scores(const Scores& scores, const RunParts& parts);

// (window - student) / (window - teacher), in nats a token. Nothing where that gap is not clearly positive: where it is
// below kLeastGap, or within two standard errors of 0 by the differences between groups of sequences. A ratio to a gap
// that is chance says nothing.
inline constexpr double kLeastGap = 1e-3;
std::optional<double> gap_closed(const SequenceSums& window, const SequenceSums& student, const SequenceSums& teacher);

}  // namespace rosa::training
