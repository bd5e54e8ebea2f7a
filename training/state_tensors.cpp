#include "training/state_tensors.h"

#include <set>

#include "base/error.h"

namespace rosa::training {
namespace {

using base::concat;

constexpr size_t kMaxListed = 4;

// "; WHAT: a, b and 3 more"; empty where there are none.
std::string listed(const std::string& what, const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < kMaxListed; ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kMaxListed) text += concat(" and ", names.size() - kMaxListed, " more");
  return names.empty() ? "" : concat("; ", what, ": ", text);
}

}  // namespace

void compare_tensors(const base::StateDict& state, const std::vector<ExpectedTensor>& expected,
                     const std::function<void(const std::string&)>& on_difference) {
  std::vector<std::string> missing, unexpected, misshapen;
  std::set<std::string> known;
  for (const ExpectedTensor& tensor : expected) {
    known.insert(tensor.name);
    const auto found = state.tensors.find(tensor.name);
    if (found == state.tensors.end()) {
      missing.push_back(tensor.name);
    } else if (found->second.shape != tensor.shape) {
      misshapen.push_back(concat(tensor.name, " is ", at::IntArrayRef(found->second.shape), " there, ",
                                 at::IntArrayRef(tensor.shape), " here"));
    }
  }
  for (const auto& entry : state.tensors) {
    if (!known.contains(entry.first)) unexpected.push_back(entry.first);
  }
  base::require<base::CheckpointError>(misshapen.empty(), "tensors of the checkpoint have other shapes than this run's",
                                       listed("shapes", misshapen),
                                       "; was it written with other sizes of adapter or model?");
  if (missing.empty() && unexpected.empty()) return;
  if (on_difference) {
    on_difference(concat("accepted other tensors than this run's", listed("dropped from the checkpoint", unexpected),
                         listed("started anew, since the checkpoint lacks them", missing)));
    return;
  }
  throw base::CheckpointError(concat(
      "the checkpoint and this run do not have the same tensors", listed("only the checkpoint has", unexpected),
      listed("only this run has", missing),
      "; were the adapter's layers, train.trainable or rate factors of 0 changed? --accept-changed adapter.layers "
      "(or the key that was changed) drops the former and starts the latter anew"));
}

}  // namespace rosa::training
