#include "training/checkpoint_comparison.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace rosa::training {
namespace {

using base::StateDict;
using base::StateTensor;

// Calls both(name, first, second) for what stands in both, and one(name, is_first) for the rest, in order of the names.
template <typename Map, typename Both, typename One>
void for_each_pair(const Map& first, const Map& second, const Both& both, const One& one) {
  std::set<std::string> names;
  for (const auto& [name, value] : first) names.insert(name);
  for (const auto& [name, value] : second) names.insert(name);
  for (const std::string& name : names) {
    const auto a = first.find(name), b = second.find(name);
    if (a != first.end() && b != second.end()) {
      both(name, a->second, b->second);
    } else {
      one(name, a != first.end());
    }
  }
}

// Empty: they are equal.
std::string difference_of(const StateTensor& first, const StateTensor& second) {
  if (first.dtype != second.dtype) return base::concat("has dtype ", first.dtype, " and ", second.dtype);
  if (first.shape != second.shape || first.bytes.size() != second.bytes.size()) return "has two shapes";
  if (first.bytes == second.bytes) return "";
  if (first.dtype != "F32") return "has other bytes";
  double largest = 0.0;
  int64_t num_different = 0;
  const auto count = static_cast<int64_t>(first.bytes.size() / sizeof(float));
  for (int64_t i = 0; i < count; ++i) {
    float a = 0, b = 0;
    std::memcpy(&a, first.bytes.data() + i * static_cast<int64_t>(sizeof(float)), sizeof(float));
    std::memcpy(&b, second.bytes.data() + i * static_cast<int64_t>(sizeof(float)), sizeof(float));
    if (std::memcmp(&a, &b, sizeof(float)) == 0) continue;
    ++num_different;
    const double distance = std::abs(static_cast<double>(a) - static_cast<double>(b));
    if (!(distance <= largest)) largest = distance;
  }
  return base::concat(num_different, " of ", count, " numbers differ, by at most ", largest);
}

}  // namespace

CheckpointComparison compare_checkpoints(const Checkpoint& first, const Checkpoint& second,
                                         const std::set<std::string>& left_out,
                                         const std::array<std::string, 2>& names) {
  CheckpointComparison comparison;
  std::set<std::string> states;
  for (const Checkpoint* checkpoint : {&first, &second}) {
    for (const std::string& name : checkpoint->state_names()) {
      if (!left_out.contains(name)) states.insert(name);
    }
  }
  const auto note = [&](const std::string& entry, const std::string& reason) {
    if (!reason.empty()) comparison.differences.push_back({entry, reason});
  };
  const auto note_single = [&](const std::string& entry, bool is_first) {
    note(entry, base::concat("only ", names[is_first ? 0 : 1], " has it"));
  };
  for (const std::string& state : states) {
    if (!first.contains(state) || !second.contains(state)) {
      note_single(state, first.contains(state));
      continue;
    }
    const StateDict a = first.state(state), b = second.state(state);
    const auto one = [&](const std::string& name, bool is_first) { note_single(state + "/" + name, is_first); };
    for_each_pair(
        a.tensors, b.tensors,
        [&](const std::string& name, const StateTensor& x, const StateTensor& y) {
          ++comparison.num_tensors;
          note(state + "/" + name, difference_of(x, y));
        },
        one);
    for_each_pair(
        a.values, b.values,
        [&](const std::string& name, const base::StateValue& x, const base::StateValue& y) {
          ++comparison.num_values;
          note(state + "/" + name, x == y ? "" : "has another value");
        },
        one);
  }
  return comparison;
}

}  // namespace rosa::training
