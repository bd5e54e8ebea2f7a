#include "rosa/estimators/trained_weights.h"

#include <algorithm>

#include "base/error.h"
#include "rosa/operator/tensor_bytes.h"

namespace rosa {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
constexpr const char* kNumUpdates = "num_updates";

}  // namespace

TrainedWeights::TrainedWeights(std::string name, const std::vector<float>& initial, double learning_rate)
    : name_(std::move(name)), learning_rate_(learning_rate) {
  weights_ = at::empty({static_cast<int64_t>(initial.size())}, at::kFloat);
  std::ranges::copy(initial, weights_.mutable_data_ptr<float>());
  weights_.mutable_grad() = at::zeros_like(weights_);
  first_moment_ = at::zeros_like(weights_);
  second_moment_ = at::zeros_like(weights_);
}

void TrainedWeights::begin(int64_t num_rows) { row_gradients_.assign(num_rows * size(), 0.0F); }

std::span<float> TrainedWeights::row_gradient(int64_t row) {
  return std::span(row_gradients_).subspan(row * size(), size());
}

void TrainedWeights::finish() {
  std::vector<double> sums(size());
  for (size_t i = 0; i < row_gradients_.size(); i += sums.size()) {
    for (size_t j = 0; j < sums.size(); ++j) sums[j] += row_gradients_[i + j];
  }
  auto* gradient = weights_.mutable_grad().mutable_data_ptr<float>();
  for (size_t j = 0; j < sums.size(); ++j) gradient[j] += static_cast<float>(sums[j]);
}

void TrainedWeights::update(double num_rows) {
  base::require(num_rows > 0, "gate estimator: got ", num_rows, " rows, expected at least 1");
  const at::NoGradGuard no_grad;
  at::Tensor& gradient = weights_.mutable_grad();
  gradient.div_(num_rows);
  const at::Tensor step = at::full({}, static_cast<double>(++num_updates_), at::kFloat);
  at::_fused_adam_({weights_}, {gradient}, {first_moment_}, {second_moment_}, {}, {step}, learning_rate_, kBeta1,
                   kBeta2, /*weight_decay=*/0, kEpsilon, /*amsgrad=*/false, /*maximize=*/false);
  gradient.zero_();
}

base::StateDict TrainedWeights::save_state() const {
  base::StateDict state;
  state.values[kNumUpdates] = num_updates_;
  state.tensors[name_] = to_state(weights_);
  state.tensors[name_ + ".first_moment"] = to_state(first_moment_);
  state.tensors[name_ + ".second_moment"] = to_state(second_moment_);
  return state;
}

void TrainedWeights::load_state(const base::StateDict& state) {
  const at::NoGradGuard no_grad;
  const auto count = state.values.find(kNumUpdates);
  base::require<base::CheckpointError>(count != state.values.end() && std::holds_alternative<int64_t>(count->second),
                                       "gate estimator: the state holds no whole number '", kNumUpdates, "'");
  const auto load = [&](const std::string& name, at::Tensor& target) {
    const auto found = state.tensors.find(name);
    base::require<base::CheckpointError>(found != state.tensors.end(), "gate estimator: the state holds no '", name,
                                         "'; was the run made with another gate estimator?");
    const at::Tensor value = from_state(found->second);
    base::require<base::CheckpointError>(value.sizes() == target.sizes() && value.scalar_type() == at::kFloat,
                                         "gate estimator: '", name, "' has shape ", value.sizes(), ", expected ",
                                         target.sizes(), " of float32; other options of the estimator?");
    target.copy_(value);
  };
  load(name_, weights_);
  load(name_ + ".first_moment", first_moment_);
  load(name_ + ".second_moment", second_moment_);
  num_updates_ = std::get<int64_t>(count->second);
}

}  // namespace rosa
