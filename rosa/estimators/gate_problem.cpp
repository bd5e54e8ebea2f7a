#include "rosa/estimators/gate_problem.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "base/random.h"

namespace rosa {
namespace {

using base::require;

void check(const GateCall& call) {
  require(call.x.defined() && call.x.dim() == 3 && at::isFloatingType(call.x.scalar_type()),
          "gate estimator: x must be a floating point tensor of shape [batch, length, channels]");
  require(call.x.size(1) <= kernels::kMaxChannelLength, "gate estimator: got length ", call.x.size(1),
          ", expected at most ", kernels::kMaxChannelLength);
  require(call.grad_output.defined() && call.grad_output.sizes() == call.x.sizes(),
          "gate estimator: grad_output must have the shape of x, ", call.x.sizes());
  require(call.emb0.defined() && call.emb1.defined() && call.emb0.numel() == call.x.size(2) &&
              call.emb1.numel() == call.x.size(2),
          "gate estimator: expected embeddings of ", call.x.size(2), " elements, one a channel");
  const at::Tensor& uniforms = call.uniforms;
  require(!uniforms.defined() || (uniforms.dim() == 4 && uniforms.sizes().slice(1) == call.x.sizes()),
          "gate estimator: uniforms must have the shape of x, ", call.x.sizes(), ", behind a dimension of draws");
}

at::Tensor to_rows(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU, at::kDouble).transpose(-2, -1).contiguous();
}

at::Tensor to_doubles(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU, at::kDouble).reshape({-1}).contiguous();
}

template <class Number>
std::span<Number> take(std::vector<std::vector<Number>>& slots, size_t slot, int64_t size) {
  if (slots.size() <= slot) slots.resize(slot + 1);
  if (slots[slot].size() < static_cast<size_t>(size)) slots[slot].resize(size);
  return {slots[slot].data(), static_cast<size_t>(size)};
}

}  // namespace

GateProblem::GateProblem(const GateCall& call, double temperature) {
  check(call);
  batch_ = call.x.size(0);
  length_ = call.x.size(1);
  channels_ = call.x.size(2);
  stream_ = call.stream;
  options_ = call.x.options();
  x_ = to_rows(call.x);
  grad_output_ = to_rows(call.grad_output);
  probability_ = at::sigmoid(x_ / temperature).clamp_(kProbabilityClamp, 1 - kProbabilityClamp);
  gradient_ = at::zeros_like(x_);
  emb0_ = to_doubles(call.emb0);
  emb1_ = to_doubles(call.emb1);
  index_ = call.index;
  if (call.uniforms.defined()) uniforms_ = to_rows(call.uniforms);
}

GateChannel GateProblem::channel(int64_t row) const {
  const auto span = [&](const at::Tensor& rows) {
    return std::span(rows.const_data_ptr<double>() + row * length_, static_cast<size_t>(length_));
  };
  GateChannel channel;
  channel.row = row;
  channel.batch = row / channels_;
  channel.channel = row % channels_;
  channel.x = span(x_);
  channel.probability = span(probability_);
  channel.grad_output = span(grad_output_);
  channel.emb0 = emb0_.const_data_ptr<double>()[channel.channel];
  channel.emb1 = emb1_.const_data_ptr<double>()[channel.channel];
  channel.gradient = {gradient_.mutable_data_ptr<double>() + row * length_, static_cast<size_t>(length_)};
  return channel;
}

void GateProblem::uniforms(const GateChannel& channel, int64_t draw, std::span<double> values) const {
  if (uniforms_.defined()) {
    require(draw < uniforms_.size(0), "gate estimator: got ", uniforms_.size(0), " uniforms, expected more");
    const double* given = uniforms_.const_data_ptr<double>() + (draw * num_rows() + channel.row) * length_;
    std::copy_n(given, length_, values.begin());
    return;
  }
  constexpr uint64_t kUse = 0x67617465;         // tells these numbers from those of other uses of the seed
  const int64_t positions = (length_ + 3) / 4;  // four numbers each
  base::RandomKey key{stream_.seed, stream_.step, stream_.first_sample + channel.batch, stream_.layer, 0};
  key.layer ^= kUse << 32;
  key.position = static_cast<uint64_t>((draw * channels_ + channel.channel) * positions);
  base::random_uniforms(key, values);
}

void GateProblem::read_index() {
  require(index_.defined() && index_.sizes() == at::IntArrayRef({batch_, length_, channels_}),
          "gate estimator: index must be the hard forward's, of the shape of x");
  hard_ = index_.to(at::kCPU, at::kChar).transpose(1, 2).contiguous();
}

void GateProblem::hard_rewards(const GateChannel& channel, std::span<double> rewards) const {
  const int8_t* outputs = hard_.const_data_ptr<int8_t>() + channel.row * length_;
  for (int64_t t = 0; t < length_; ++t) {
    const double value = outputs[t] < 0 ? 0.0 : outputs[t] != 0 ? channel.emb1 : channel.emb0;
    rewards[t] = channel.grad_output[t] * value;
  }
}

at::Tensor GateProblem::collect_doubles(double factor) const {
  return (gradient_ * factor).transpose(1, 2).contiguous();
}

at::Tensor GateProblem::collect(double factor) const { return collect_doubles(factor).to(options_); }

void GateWorker::begin(const GateChannel& channel) {
  const size_t length = channel.grad_output.size();
  zero_rewards_.resize(length);
  one_rewards_.resize(length);
  positions_.resize(length);
  outputs_.resize(length);
  for (size_t t = 0; t < length; ++t) {
    zero_rewards_[t] = channel.grad_output[t] * channel.emb0;
    one_rewards_[t] = channel.grad_output[t] * channel.emb1;
  }
}

void GateWorker::evaluate(std::span<const uint8_t> bits, std::span<double> rewards) {
  matcher_.match(bits, bits, std::span(positions_), {});
  for (size_t t = 0; t < bits.size(); ++t) {
    const int32_t position = positions_[t];
    rewards[t] = position < 0 ? 0.0 : bits[position + 1] != 0 ? one_rewards_[t] : zero_rewards_[t];
  }
}

void GateWorker::route_slopes(std::span<double> slopes) const {
  std::fill(slopes.begin(), slopes.end(), 0.0);
  for (size_t t = 0; t < slopes.size(); ++t) {
    if (positions_[t] >= 0) slopes[positions_[t] + 1] += one_rewards_[t] - zero_rewards_[t];
  }
}

double GateWorker::flip_effects(std::span<const uint8_t> bits, std::span<double> effects) {
  flips_.effects(bits, zero_rewards_, one_rewards_, outputs_, effects);
  double total = 0;
  for (size_t t = 0; t < bits.size(); ++t) {
    if (bits[t] != 0) effects[t] = -effects[t];
    if (outputs_[t] >= 0) total += outputs_[t] != 0 ? one_rewards_[t] : zero_rewards_[t];
  }
  return total;
}

std::span<double> GateWorker::numbers(size_t slot, int64_t size) { return take(numbers_, slot, size); }
std::span<float> GateWorker::floats(size_t slot, int64_t size) { return take(floats_, slot, size); }
std::span<uint8_t> GateWorker::bits(size_t slot, int64_t size) { return take(bits_, slot, size); }

std::span<const uint8_t> GateWorker::hard_bits(const GateChannel& channel, size_t slot) {
  const std::span<uint8_t> hard = bits(slot, static_cast<int64_t>(channel.x.size()));
  for (size_t t = 0; t < hard.size(); ++t) hard[t] = channel.x[t] > 0;
  return hard;
}

void GateWorkers::for_each_row(int64_t num_rows, HostExecutor& executor,
                               const std::function<void(GateWorker&, int64_t)>& body) {
  const auto num_workers = std::min<int64_t>(executor.num_threads(), num_rows);
  while (static_cast<int64_t>(workers_.size()) < num_workers) workers_.push_back(std::make_unique<GateWorker>());
  std::atomic<int64_t> next{0};
  executor.parallel_for(num_workers, [&](int64_t worker) {
    for (int64_t row = next++; row < num_rows; row = next++) body(*workers_[worker], row);
  });
}

}  // namespace rosa
