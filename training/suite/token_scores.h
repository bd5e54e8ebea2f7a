// What a model makes of single tokens: cross-entropy and first choice of each, and how near it is to a teacher there.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "models/causal_model.h"
#include "training/losses.h"

namespace rosa::training {

// Beside n tokens; on the CPU.
struct TokenScores {
  at::Tensor ce;         // float64 [n], nats
  at::Tensor top1;       // bool [n]: the token has the highest logit
  at::Tensor kl;         // float64 [n]: from the teacher's distribution; undefined without a teacher
  at::Tensor agreement;  // bool [n]: teacher and model have the same first choice; undefined without a teacher
};

// What a teacher says of the same tokens.
struct TeacherStates {
  const models::CausalModel& model;
  at::Tensor hidden = {};  // [n,hidden]; undefined: nothing
};

// hidden [n,hidden]: the states that predict the tokens ids, int64 [n]. Of `config` the chunks count. No gradient.
TokenScores score_tokens(const models::CausalModel& model, const at::Tensor& hidden, const at::Tensor& ids,
                         const TeacherStates& teacher, const LossConfig& config = {});

}  // namespace rosa::training
