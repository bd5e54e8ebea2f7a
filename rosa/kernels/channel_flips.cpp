#include "rosa/kernels/channel_flips.h"

#include <algorithm>

#include "base/error.h"
#include "rosa/kernels/flip_variants.h"
#include "rosa/kernels/workspace_cutter.h"

namespace rosa::kernels {
namespace {

using base::require;

constexpr int64_t kPadding = 64;  // of arrays that vectors are read from
constexpr int32_t kBufferedChanges = 1024;

void check(std::span<const uint8_t> bits, std::span<int8_t> outputs) {
  require(static_cast<int64_t>(bits.size()) <= kMaxChannelLength, "ChannelFlips: got ", bits.size(),
          " bits, expected at most ", kMaxChannelLength);
  require(outputs.size() == bits.size(), "ChannelFlips: got ", bits.size(), " bits and ", outputs.size(), " outputs");
  const auto wrong = std::find_if(bits.begin(), bits.end(), [](uint8_t bit) { return bit > 1; });
  require(wrong == bits.end(), "ChannelFlips: position ", wrong - bits.begin(), " holds ",
          wrong == bits.end() ? 0 : static_cast<int>(*wrong), ", expected 0 or 1");
}

FlipProblem cut(WorkspaceCutter& cutter, std::span<const uint8_t> bits, std::span<int8_t> outputs) {
  const auto length = static_cast<int64_t>(bits.size());
  FlipProblem problem{};
  problem.bits = bits.data();
  problem.length = static_cast<int32_t>(length);
  problem.outputs = outputs.data();
  for (void*& run : problem.runs) run = cutter.take<uint16_t>(length + kPadding);
  for (int32_t*& active : problem.active) active = cutter.take<int32_t>(length);
  problem.route = cutter.take<int32_t>(length);
  problem.searched = cutter.take<int32_t>(length);
  problem.gains = cutter.take<int32_t>(length);
  problem.gain = cutter.take<uint32_t>(length);
  problem.best = cutter.take<uint32_t>(length);
  problem.whole = cutter.take<uint32_t>(length);
  problem.is_active = cutter.take<uint8_t>(length);
  return problem;
}

FlipProblem prepare(std::span<const uint8_t> bits, std::span<int8_t> outputs, std::vector<std::byte>& workspace) {
  check(bits, outputs);
  WorkspaceCutter measure(nullptr);
  cut(measure, bits, outputs);
  const auto size = static_cast<size_t>(measure.size());
  if (workspace.size() < size) workspace.resize(size);
  WorkspaceCutter cutter(workspace.data());
  return cut(cutter, bits, outputs);
}

}  // namespace

std::span<const FlipChange> ChannelFlips::changes(std::span<const uint8_t> bits, std::span<int8_t> outputs) {
  const FlipProblem problem = prepare(bits, outputs, workspace_);
  changes_.clear();
  FlipChange buffer[kBufferedChanges];
  const auto append = [](void* target, const FlipChange* changes, int32_t count) {
    auto& list = *static_cast<std::vector<FlipChange>*>(target);
    list.insert(list.end(), changes, changes + count);
  };
  ChangeList list{.buffer = buffer, .capacity = kBufferedChanges, .flush = append, .target = &changes_};
  chosen_flip_variant().list_changes(problem, list);
  list.finish();
  return changes_;
}

void ChannelFlips::effects(std::span<const uint8_t> bits, std::span<const double> zero_rewards,
                           std::span<const double> one_rewards, std::span<int8_t> outputs, std::span<double> effects) {
  require(zero_rewards.size() == bits.size() && one_rewards.size() == bits.size() && effects.size() == bits.size(),
          "ChannelFlips::effects: got ", bits.size(), " bits, ", zero_rewards.size(), " and ", one_rewards.size(),
          " rewards and room for ", effects.size(), " effects, expected equal numbers");
  const FlipProblem problem = prepare(bits, outputs, workspace_);
  std::fill(effects.begin(), effects.end(), 0.0);
  RewardSums sums{.rewards = {zero_rewards.data(), one_rewards.data()}, .effects = effects.data()};
  chosen_flip_variant().sum_rewards(problem, sums);
}

const char* channel_flips_instruction_set() { return chosen_flip_variant().name; }

}  // namespace rosa::kernels
