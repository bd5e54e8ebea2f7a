// The memory that a rank of a run takes, counted before anything is loaded: from the configuration and the sizes of the
// model alone. Bytes throughout.
//
// A step is fullest at one of two moments: in the loss, when all that the backward needs is kept and the logits of a
// chunk of tokens exist several times over; or at the beginning of the backward, when the gradients of the last layer
// come on top. Frozen weights that the files have in model.compute_dtype are not copied on a CPU: they are pages of the
// files, which the ranks of a host share. Others are copied one at a time, so that one tensor stands in memory twice.
//
// What the tensors of a step take is derived from the forward (models/causal_model.h, models/adapter.h,
// training/losses.h) and from what autograd keeps of it. N tokens are in a micro-batch, e is the size of
// model.compute_dtype; h, q, k, i are the widths of hidden states, queries, keys and MLP; Q, K, V, O those of the
// adapter's projections; H are its heads. A layer whose input depends on something trained keeps, in a student with a
// frozen base:
//   N e (3h + 3q + 5k + 3i)         inputs of both norms and of the adapter (the latter in float32: 4 instead of e);
//                                   queries before and after their norm, and the attention's output; keys before their
//                                   norm; keys and values of the window's blocks, which overlap; three of the MLP
//   4 N (Q + K + V + 2 O) + N H     the adapter's logits, its bits and values, and where there was a match
//   4 N (3 O + 13 H + 2 h)          with all gates, agreement tied: values before the gate, signs, what they are
//   compared
//                                   with, rows of buckets, the hidden state twice
// The loss holds the logits of a chunk, of student and teacher, and four tensors of kLossBlockBytes (one without a
// teacher) that are made of a block of them. The code has the rest:
// what falls away where nothing is trained below, what is added where the base itself is trained, checkpointing, masks
// and estimators.
//
// Not derived but measured: the process with its libraries, and what glibc's allocator holds beside the tensors: holes
// between them, which it does not give back. memory.cpp says how much, and docs/planning.md how it was measured.
#pragma once

#include <cstdint>

#include "models/model_config.h"
#include "training/config.h"
#include "training/run_rules.h"

namespace rosa::training {

// Of one rank at one moment.
struct MemoryKinds {
  int64_t process = 0;        // program and libraries
  int64_t allocator = 0;      // what it holds beside the tensors of a step (CPU only)
  int64_t data = 0;           // texts, and token files as far as they are mapped
  int64_t mapped = 0;         // frozen weights of base model and teacher in their files, shared by ranks of a host
  int64_t base = 0;           // weights of the base model and of a teacher of its own that are this rank's alone
  int64_t adapters = 0;       // their weights
  int64_t gradients = 0;      // flat buffers of sums over micro-batches
  int64_t optimizer = 0;      // moments of AdamW, on this rank
  int64_t activations = 0;    // what the backward needs, and what it makes on its way
  int64_t loss = 0;           // logits of a chunk of tokens, and the hidden states they are made of
  int64_t automata = 0;       // workspace of the matching threads
  int64_t staging = 0;        // GPU only: pinned host memory between device and automata
  int64_t communication = 0;  // buffers of collectives

  int64_t total() const;
};

struct MemoryPlan {
  MemoryKinds loading, loss, backward;
  // On top of a step while a checkpoint is written: this rank's share of a copy of weights and moments.
  int64_t saving = 0;
  bool on_gpu = false;

  const MemoryKinds& fullest_step() const;  // of loss and backward
  // Peak of the resident memory of the process; with a GPU, of what is on the host.
  int64_t host_peak() const;
  // Of the ranks of one host together: what they share counts once.
  int64_t peak_of_ranks(int64_t ranks_of_host) const;
  // Peak of the memory on the GPU; 0 without one.
  int64_t device_peak() const;
};

struct MemoryInput {
  const RunConfig& config;  // only looked at
  Objective objective = Objective::distill;
  const models::ModelConfig& model;
  const models::ModelConfig* own_teacher = nullptr;  // of teacher.folder; null: there is none
  int world_size = 1;
  bool on_gpu = false;
  int64_t automaton_threads = 1;
  bool maps_base = false, maps_teacher = false;  // weights stay in their files
  int64_t largest_tensor_bytes = 0;              // in the files; 0: nothing is copied
  int64_t data_bytes = 0;                        // see MemoryKinds::data
  int sharing_ranks = 1;                         // that share out the layers' frozen projections
};

// The configuration keeps the rules of run_rules.h.
MemoryPlan plan_memory(const MemoryInput& input);

}  // namespace rosa::training
