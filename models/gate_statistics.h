// What an adapter's gates let through, counted in whole numbers: sums are the same for any number of ranks.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>

namespace rosa::models {

// A gate lies between 0 and 2, and starts at 1. Below this it lets next to nothing through.
inline constexpr double kClosedGate = 0.1;

struct GateCounts {
  int64_t num = 0;         // gates: one for a head at a position
  int64_t num_closed = 0;  // below kClosedGate
  int64_t sum = 0;         // of all, in units of 2^-16

  // Any shape.
  void add(const at::Tensor& gates);
  double mean() const { return num > 0 ? static_cast<double>(sum) / 65536.0 / static_cast<double>(num) : 1.0; }
  double closed_share() const { return num > 0 ? static_cast<double>(num_closed) / static_cast<double>(num) : 0.0; }
};

using GateStatistics = std::map<int64_t, GateCounts>;  // by layer

}  // namespace rosa::models
