#include "models/low_rank.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/checksum.h"
#include "base/error.h"
#include "models/causal_model.h"
#include "models/uniform_start.h"

namespace rosa::models {
namespace {

using base::concat;
using base::require;

constexpr std::string_view kWeight = ".weight";
constexpr const char *kA = ".lora_A", *kB = ".lora_B";

std::string without_kind(const std::string& weight) { return weight.substr(0, weight.size() - kWeight.size()); }

}  // namespace

bool is_projection(const std::string& weight) {
  return weight.starts_with("model.layers.") &&
         std::any_of(std::begin(kProjectionNames), std::end(kProjectionNames),
                     [&](const char* name) { return weight.ends_with(concat(".", name, kWeight)); });
}

std::map<std::string, std::vector<int64_t>> low_rank_shapes(const ModelConfig& model,
                                                            const std::vector<std::string>& weights, int64_t rank) {
  const auto of_model = parameter_shapes(model);
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const std::string& weight : weights) {
    const auto found = of_model.find(weight);
    require(found != of_model.end() && is_projection(weight), "'", weight, "' is no linear projection of the model");
    shapes[without_kind(weight) + kA] = {rank, found->second[1]};
    shapes[without_kind(weight) + kB] = {found->second[0], rank};
  }
  return shapes;
}

LowRank::LowRank(const ModelConfig& model, const std::vector<std::string>& weights, int64_t rank, double alpha,
                 uint64_t seed)
    : rank_(rank), alpha_(alpha) {
  require(rank >= 1, "a low-rank adaptation of rank ", rank, "; expected at least 1");
  for (const auto& [name, shape] : low_rank_shapes(model, weights, rank)) {
    at::Tensor tensor = name.ends_with(kA)
                            ? uniform_start(shape, shape[1], {.seed = seed, .sample = base::checksum(name)})
                            : at::zeros(shape, at::kFloat);
    parameters_[name] = tensor.requires_grad_(true);
  }
}

std::optional<LowRank::Pair> LowRank::pair_of(const std::string& projection) const {
  const auto a = parameters_.find(projection + kA);
  if (a == parameters_.end()) return std::nullopt;
  return Pair{&a->second, &parameters_.at(projection + kB)};
}

std::optional<LowRank::Pair> LowRank::pair(int64_t layer, Projection projection) const {
  return pair_of(concat("model.layers.", layer, ".", kProjectionNames[static_cast<size_t>(projection)]));
}

at::Tensor LowRank::merged(const std::string& name, const at::Tensor& weight) const {
  const at::NoGradGuard no_gradient;
  const at::Tensor plain = weight.detach().to(at::kCPU, at::kFloat);
  const auto pair = name.ends_with(kWeight) ? pair_of(without_kind(name)) : std::nullopt;
  if (!pair) return plain;
  const auto on_host = [](const at::Tensor& tensor) { return tensor.detach().to(at::kCPU); };
  return at::add(plain, at::mm(on_host(*pair->b), on_host(*pair->a)), scale());
}

std::vector<at::Tensor> LowRank::layer_parameters(int64_t layer) const {
  std::vector<at::Tensor> result;
  for (size_t i = 0; i < kNumProjections; ++i) {
    const auto found = pair(layer, static_cast<Projection>(i));
    if (found) result.insert(result.end(), {*found->a, *found->b});
  }
  return result;
}

}  // namespace rosa::models
