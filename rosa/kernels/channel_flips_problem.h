// One channel to the flip kernels of every instruction set (flip_variants.h): its memory, and what takes the changes.
#pragma once

#include "rosa/kernels/channel_flips.h"

namespace rosa::kernels {

// One channel and the memory to work in, all owned by the caller.
struct FlipProblem {
  const uint8_t* bits;
  int32_t length;
  int8_t* outputs;
  void* runs[5];       // length + 64 elements each: bytes for lengths to 255, else 16 bits
  int32_t* active[2];  // `length` elements each, as all below
  int32_t* route;
  int32_t* searched;
  int32_t* gains;
  uint32_t *gain, *best, *whole;
  uint8_t* is_active;
};

// Takes changes as a list, handed on in pieces.
struct ChangeList {
  FlipChange* buffer;
  int32_t capacity;
  void (*flush)(void* target, const FlipChange* changes, int32_t count);
  void* target;
  int32_t count = 0;

  void change(int32_t flip, int32_t row, int /*output*/, int flipped) {
    if (count == capacity) finish();
    buffer[count++] = {flip, row, static_cast<int8_t>(flipped)};
  }
  void finish() {
    flush(target, buffer, count);
    count = 0;
  }
};

// Takes changes as sums of rewards.
struct RewardSums {
  const double* rewards[2];
  double* effects;

  double reward(int32_t row, int output) const { return output < 0 ? 0.0 : rewards[output][row]; }
  void change(int32_t flip, int32_t row, int output, int flipped) {
    effects[flip] += reward(row, flipped) - reward(row, output);
  }
};

}  // namespace rosa::kernels
