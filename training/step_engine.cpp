#include "training/step_engine.h"

#include <torch/csrc/autograd/autograd.h>

#include <chrono>

#include "base/activity.h"
#include "base/error.h"
#include "parallel/flat_layout.h"
#include "parallel/gradient_norm.h"
#include "parallel/micro_batch_tree.h"

namespace rosa::training {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::vector<std::string> names_of(const NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

std::vector<parallel::ReducedTensor> reduced_tensors(const NamedTensors& trained) {
  std::vector<parallel::ReducedTensor> tensors;
  for (const auto& [name, tensor] : trained) {
    base::require<base::ConfigError>(tensor.scalar_type() == at::kFloat, "trained weights must be float32, but '", name,
                                     "' is ", c10::toString(tensor.scalar_type()),
                                     "; set model.compute_dtype: float32");
    tensors.push_back(parallel::reduced_by_autograd(tensor));
  }
  return tensors;
}

}  // namespace

StepEngine::StepEngine(parallel::Communicator& communicator, const parallel::ParallelConfig& parallel,
                       const OptimizerConfig& optimizer, const NamedTensors& trained, int64_t num_micro_batches,
                       const std::vector<std::size_t>& placement)
    : communicator_(communicator),
      num_micro_batches_(num_micro_batches),
      clip_(optimizer.clip),
      is_sharded_(parallel.sharded_optimizer && communicator.world_size() > 1),
      names_(names_of(trained)),
      reducer_(communicator, parallel, num_micro_batches, reduced_tensors(trained), placement),
      optimizer_(optimizer, trained, reducer_.layout(), communicator, parallel.sharded_optimizer) {}

void StepEngine::backward(const at::Tensor& loss) {
  base::require<base::ConfigError>(loss.requires_grad(),
                                   "the loss depends on nothing that is trained: look at "
                                   "train.trainable and what loss.* asks for");
  const base::PhaseScope phase(base::Phase::backward);
  reducer_.run_backward([&] { torch::autograd::backward({loss}, {}); });
}

void StepEngine::reduce() {
  const base::PhaseScope phase(base::Phase::reduce);
  const auto start = Clock::now();
  gradient_ = reducer_.finish();
  communication_ms_ += milliseconds_since(start);
  norm_ = parallel::gradient_norm(communicator_, reducer_.layout(), gradient_, is_sharded_);
}

void StepEngine::update(double learning_rate) {
  const base::PhaseScope phase(base::Phase::optimizer);
  clip_gradient(gradient_, norm_, clip_);
  optimizer_.step(gradient_, learning_rate);
}

std::vector<double> StepEngine::sum(const std::vector<std::vector<double>>& own) {
  const auto start = Clock::now();
  std::vector<double> total = parallel::sum_in_micro_batch_order(communicator_, num_micro_batches_, own);
  communication_ms_ += milliseconds_since(start);
  return total;
}

std::vector<std::string> StepEngine::not_finite() const {
  const parallel::FlatLayout& layout = reducer_.layout();
  std::vector<std::string> found;
  for (const parallel::TensorPiece& piece :
       is_sharded_ ? layout.pieces_of_rank(communicator_.rank()) : layout.whole_tensors()) {
    const std::string& name = names_[piece.tensor];
    if (!found.empty() && found.back() == name) continue;
    if (!at::isfinite(gradient_.narrow(0, piece.offset, piece.size())).all().item<bool>()) found.push_back(name);
  }
  return found;
}

}  // namespace rosa::training
