// GateProblem: a gate's call on the host, channel by channel, as all estimators read it; and GateWorker, what a thread
// needs to evaluate strings of one channel. No estimator's formula is here.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "rosa/automaton/matcher.h"
#include "rosa/estimators/gate_estimator.h"
#include "rosa/kernels/channel_flips.h"

namespace rosa {

inline constexpr double kProbabilityClamp = 1e-4;

// One row: channel `channel` of sequence `batch`. All spans have `length` elements and live as long as the problem.
struct GateChannel {
  int64_t row = 0, batch = 0, channel = 0;
  std::span<const double> x;
  std::span<const double> probability;  // clamped
  std::span<const double> grad_output;
  double emb0 = 0, emb1 = 0;
  std::span<double> gradient;  // to be written: d loss / d logit, where x = temperature * logit
};

class GateProblem {
 public:
  // Checks the shapes (ArgumentError).
  GateProblem(const GateCall& call, double temperature);

  int64_t batch() const { return batch_; }
  int64_t length() const { return length_; }
  int64_t channels() const { return channels_; }
  int64_t num_rows() const { return batch_ * channels_; }
  const GateStream& stream() const { return stream_; }

  GateChannel channel(int64_t row) const;

  // Uniform numbers in (0, 1) of the draw with the number `draw` for all positions of a row.
  void uniforms(const GateChannel& channel, int64_t draw, std::span<double> values) const;

  // To be called before hard_rewards(), once: brings the call's index. Throws ArgumentError where it does not fit x.
  void read_index();
  // rewards[t] = grad_output[t] * out[t] of the hard forward.
  void hard_rewards(const GateChannel& channel, std::span<double> rewards) const;

  // [B,T,C] of x's dtype and device: the rows' gradients, times `factor`.
  at::Tensor collect(double factor) const;
  // The same in double, on the CPU.
  at::Tensor collect_doubles(double factor) const;

 private:
  int64_t batch_ = 0, length_ = 0, channels_ = 0;
  GateStream stream_;
  at::TensorOptions options_;
  at::Tensor x_, probability_, grad_output_, gradient_;  // double [B,C,T]
  at::Tensor emb0_, emb1_;                               // double [C]
  at::Tensor index_, hard_;                              // int64 [B,T,C] as given; int8 [B,C,T]
  at::Tensor uniforms_;                                  // double [S,B,C,T], or undefined
};

class GateWorker {
 public:
  // Reads the rewards of the channel that the calls below are about.
  void begin(const GateChannel& channel);

  // f of each position: rewards[t] = grad_output[t] * out[t] for the string `bits`.
  void evaluate(std::span<const uint8_t> bits, std::span<double> rewards);

  // For each bit: what the rows that retrieved it, in the string evaluated last, gain if it is 1 instead of 0, provided
  // that they still retrieve it.
  void route_slopes(std::span<double> slopes) const;

  // effects[t] = f(bits with bit t set) - f(bits with bit t clear); returns f(bits).
  double flip_effects(std::span<const uint8_t> bits, std::span<double> effects);

  // Room that is kept from call to call; `slot` tells uses apart.
  std::span<double> numbers(size_t slot, int64_t size);
  std::span<float> floats(size_t slot, int64_t size);
  std::span<uint8_t> bits(size_t slot, int64_t size);
  // [x > 0], in this slot of bits.
  std::span<const uint8_t> hard_bits(const GateChannel& channel, size_t slot);

 private:
  automaton::Matcher matcher_;
  kernels::ChannelFlips flips_;
  std::vector<double> zero_rewards_, one_rewards_;
  std::vector<int32_t> positions_;
  std::vector<int8_t> outputs_;
  std::vector<std::vector<double>> numbers_;
  std::vector<std::vector<float>> floats_;
  std::vector<std::vector<uint8_t>> bits_;
};

// The workers of an estimator, one a thread, kept from call to call.
class GateWorkers {
 public:
  // Calls body(worker, row) once for each row on the executor's threads.
  void for_each_row(int64_t num_rows, HostExecutor& executor, const std::function<void(GateWorker&, int64_t)>& body);

 private:
  std::vector<std::unique_ptr<GateWorker>> workers_;
};

}  // namespace rosa
