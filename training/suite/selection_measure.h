// What a selection of layers (layer_selection.h) measures and counts on a model: the KL from the teacher of students
// whose layers differ, and the bytes of state that a layer costs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "training/evaluation.h"
#include "training/suite/layer_selection.h"

namespace rosa::training {

// Told after each batch of a measurement: of how many sequences of all students this rank has scored how many.
using SelectionProgress = std::function<void(int64_t done, int64_t total)>;

// The students that differ from `config`'s in their layers alone, over evaluation.num_sequences held-out sequences.
class SelectionMeasure {
 public:
  // Runs the teacher. `config` and `parts` outlive it. Collective: every rank calls it. Throws DataError where no token
  // can be scored, and ConfigError where evaluation.num_sequences does not fit the data.
  SelectionMeasure(const RunConfig& config, const RunParts& parts);

  void set_progress(SelectionProgress progress) { progress_ = std::move(progress); }
  int64_t num_sequences() const { return held_out_.size(); }
  // Positions that predict a token: those that an evaluation counts.
  int64_t num_tokens() const { return num_tokens_; }
  // KL(teacher || student) of each, nats a token: the mean over these positions, of the whole vocabulary. Sequences are
  // shared out over the ranks, and any number of them gives the same. Collective: every rank calls it.
  std::vector<double> kl(const std::vector<LayerKinds>& students) const;

 private:
  struct Texts;
  int64_t chunk_tokens() const;
  at::Tensor kept_log_probabilities(const at::Tensor& hidden) const;
  models::ForwardOptions options_of(const LayerKinds& kinds) const;
  double sum_of(const Texts& texts, int64_t row, const at::Tensor& hidden) const;

  const RunConfig& config_;
  const RunParts& parts_;
  SelectionProgress progress_;
  HeldOutSequences held_out_;
  std::vector<std::shared_ptr<Texts>> batches_;  // this rank's
  int64_t num_tokens_ = 0;
};

// The places of a student as the configuration leaves them before anything is chosen: windows, and global attention
// where the list of student.sliding_window says 0.
LayerKinds bare_layers(const RunConfig& config, int64_t num_layers);

struct CountedCosts {
  StateCosts costs;
  int64_t num_tokens = 0;              // of the text that ROSA's state was counted behind; 0: there is none
  std::vector<int64_t> silent_layers;  // their adapters' output is 0 for every input: they can't be chosen
};

// Global attention: 2 * key/value heads * head_dim numbers of the compute dtype. ROSA: the bytes of memory that stand
// behind a text of up to `num_tokens` tokens (RosaState::num_bytes: keys, values, automata), by its tokens; the text
// are held-out sequences, one behind the other. Collective: every rank calls it.
CountedCosts count_costs(const RunConfig& config, const RunParts& parts, int64_t num_tokens);

}  // namespace rosa::training
