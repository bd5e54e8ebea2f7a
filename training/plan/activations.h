// What the tensors of one micro-batch take in a training step, in bytes, derived from the forward
// (models/causal_model.h, models/adapter.h, training/losses.h) and from what autograd keeps of it.
// training/plan/memory.h has the formulas.
#pragma once

#include <cstdint>

#include "models/adapter.h"
#include "models/causal_model.h"
#include "models/model_config.h"
#include "training/plan/gradient_flow.h"

namespace rosa::training {

struct ActivationInput {
  const models::ModelConfig& model;
  const models::AdapterConfig* adapter = nullptr;  // resolved; null: none
  const GradientFlow& flow;
  int64_t sequences = 1, length = 0;        // of the micro-batch
  int64_t sliding_window = 0;               // 0: every earlier position
  std::vector<int64_t> layer_windows = {};  // of each layer; empty: sliding_window
  int64_t sink_tokens = 0;
  bool has_documents = false;  // packed token files
  bool has_teacher = false;
  int64_t teacher_state_bytes = 0;  // of a token's hidden state in a teacher of its own; 0: as the student's
  models::ActivationCheckpointing checkpointing = models::ActivationCheckpointing::none;
  int64_t element_bytes = 4;  // of the compute dtype
  int64_t lora_rank = 0;      // of the pairs that `flow` knows
  int64_t chunk_tokens = 0;
  bool has_logits = true;          // else there is no loss on what the model gives
  int64_t num_aligned_layers = 0;  // of the alignment loss
  int64_t sequence_chunk = 0;      // ForwardOptions::sequence_chunk
};

struct ActivationBytes {
  int64_t kept = 0;        // by the whole forward of the student, for its backward
  int64_t loss = 0;        // on top, at the fullest moment of the loss
  int64_t backward = 0;    // on top of `kept` and of the loss's gradient, at the fullest moment of the backward
  int64_t after_loss = 0;  // what the loss leaves for the backward: the gradient of the hidden states
};

ActivationBytes activation_bytes(const ActivationInput& input);

}  // namespace rosa::training
