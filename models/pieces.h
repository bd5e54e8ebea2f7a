// A part of a forward that is computed piece by piece along the sequence and again in the backward: between the two
// only its inputs are kept, and at any time what autograd keeps of one piece. One piece is activation checkpointing.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace rosa::models {

// Positions first .. first + count - 1 of a sequence, and how many before them a part looks at.
struct Piece {
  int64_t first = 0, count = 0;
  int64_t before = 0;  // at most the halo, fewer at the sequence's beginning
};

struct PieceSize {
  int64_t positions = 0;  // of a piece; as many as the sequence has, or more: one piece
  int64_t halo = 0;       // positions before a piece that its inputs include
};

// Gets each input's positions first - before .. first + count - 1, and gives `count` positions of each output. It must
// give the same bits when it is called again for the same piece.
using PieceFunction = std::function<std::vector<at::Tensor>(const Piece& piece, const std::vector<at::Tensor>& inputs)>;

// `inputs` and outputs are [B,T,...]. `parameters`: tensors inside `part` that may require a gradient, whatever their
// shapes. Gradients of inputs and parameters are summed over the pieces in order; with one piece, they have the bits of
// the part called plainly. No second derivatives.
std::vector<at::Tensor> run_in_pieces(PieceFunction part, const std::vector<at::Tensor>& inputs,
                                      const std::vector<at::Tensor>& parameters, const PieceSize& size);

}  // namespace rosa::models
