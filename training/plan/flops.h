// How many floating-point operations (FLOPs) the model costs a token, counted from sizes alone: no weights, no tensors.
// Made for judging how well a device is used (model FLOPs a second against its peak) and for planning.
//
// What counts: matrix products, with 2 FLOPs for a multiplication and its addition: linear layers, the two products of
// the attention over the positions that a token sees, and the logits. Norms, softmax, embeddings, the automata (which
// count in integers) and the estimator of the ROSA gradient do not count. A backward costs as much as its forward for
// each gradient that is taken: that of an input, where something before it is trained, and that of a weight, where the
// weight is trained.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "models/adapter.h"
#include "models/model_config.h"
#include "training/losses.h"

namespace rosa::training {

// What is counted. Both parameters of models are only looked at during the call.
struct FlopsInput {
  const models::ModelConfig& model;
  // The student's, resolved (models::resolve). Null: pretraining, where the base itself is trained, without a teacher.
  const models::AdapterConfig* adapter = nullptr;
  // Tokens; each sees what its attention lets it see in one document as long as the sequence.
  int64_t sequence_length = 0;
  int64_t sliding_window = 0;               // of the student; 0: every position up to its own
  std::vector<int64_t> layer_windows = {};  // of each of its layers; empty: sliding_window
  int64_t sink_tokens = 0;
  const models::ModelConfig* teacher = nullptr;  // null: none
  // The alignment loss may run the student's layers once more, fed by the teacher's, and may be all the loss there is:
  // no logits then.
  bool has_own_forward = true, has_fed_forward = false, has_logits = true;
  std::map<std::string, std::vector<int64_t>> low_rank = {};  // shapes of the student's pairs (models/low_rank.h)
  std::set<std::string> trained = {};  // names of the parameters with a gradient, as Trainer::trained() has them
};

// FLOPs of one token of a training step, a mean over the positions of a sequence.
struct TokenFlops {
  double teacher_forward = 0.0;  // its layers and its logits
  double student_forward = 0.0;  // with adapters and logits
  double student_backward = 0.0;
  // With activation checkpointing the forward of the layers runs again; no work of the model, so not in total().
  double recomputation = 0.0;

  double total() const { return teacher_forward + student_forward + student_backward; }
};

// What loss.output and loss.alignment make of it.
void set_passes(FlopsInput& input, const LossConfig& loss);

// Throws ArgumentError where sequence_length is below 1 or sliding_window below 0.
TokenFlops token_flops(const FlopsInput& input);

// The positions that a token sees, a mean over those of a sequence; window 0: all up to its own. `sinks`: the first
// positions, which a window sees besides.
double mean_visible_positions(int64_t sequence_length, int64_t window, int64_t sinks = 0);

}  // namespace rosa::training
