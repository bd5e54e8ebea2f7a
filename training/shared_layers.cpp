#include "training/shared_layers.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "base/trace.h"

namespace rosa::training {
namespace {

using Clock = std::chrono::steady_clock;
using models::kNumProjections;

const at::Tensor& weight_of(const models::CausalModel& model, int64_t layer, size_t projection) {
  return *model.layer_weights(layer)[static_cast<models::Projection>(projection)].weight;
}

}  // namespace

SharedLayers::SharedLayers(models::CausalModel& model, std::unique_ptr<parallel::Communicator> group,
                           const at::Device& device)
    : group_(std::move(group)) {
  for (size_t i = 0; i < kNumProjections; ++i) {
    shapes_[i] = weight_of(model, 0, i).sizes().vec();
    offsets_[i] = layer_elements_;
    layer_elements_ += weight_of(model, 0, i).numel();
  }
  const at::TensorOptions options = weight_of(model, 0, 0).options().device(device).requires_grad(false);
  const int64_t begin = cut(group_->rank()), end = cut(group_->rank() + 1);
  for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    const at::Tensor part = at::empty({end - begin}, options);
    for (size_t i = 0; i < kNumProjections; ++i) {
      const at::Tensor whole = weight_of(model, layer, i).detach().view({-1});
      const int64_t first = std::max(begin, offsets_[i]), last = std::min(end, offsets_[i] + whole.numel());
      if (first < last)
        part.narrow(0, first - begin, last - first).copy_(whole.narrow(0, first - offsets_[i], last - first));
    }
    parts_.push_back(part);
    model.drop_projections(layer);
  }
  now_.flat = at::empty({layer_elements_}, options);
  next_.flat = at::empty({layer_elements_}, options);
}

int64_t SharedLayers::cut(int rank) const { return layer_elements_ * rank / group_->world_size(); }

at::Tensor SharedLayers::weight(int64_t layer, models::Projection projection) {
  // A step notes its first layer also where the step before has left it here.
  if (now_.index != layer) {
    go_to(layer);
  } else if (is_in_step_ && asked_.empty()) {
    note(layer);
  }
  const auto i = static_cast<size_t>(projection);
  return now_.flat.narrow(0, offsets_[i], shapes_[i][0] * shapes_[i][1]).view(shapes_[i]);
}

void SharedLayers::note(int64_t index) {
  follows_program_ = follows_program_ && asked_.size() < program_.size() && program_[asked_.size()] == index;
  asked_.push_back(index);
}

void SharedLayers::go_to(int64_t index) {
  const at::NoGradGuard no_gradient;
  const int64_t before = now_.index;
  if (next_.index != index) {
    finish(next_);
    start(index, next_);
  }
  finish(next_);
  std::swap(now_, next_);
  if (is_in_step_) note(index);
  const int64_t expected = expected_after(before, index);
  // What was left is whole still.
  if (expected >= 0 && expected != index && expected != next_.index) start(expected, next_);
}

int64_t SharedLayers::expected_after(int64_t before, int64_t index) const {
  if (is_in_step_ && follows_program_) return asked_.size() < program_.size() ? program_[asked_.size()] : -1;
  const int64_t next = index > before || index == 0 ? index + 1 : index - 1;
  return next < static_cast<int64_t>(parts_.size()) ? next : -1;
}

void SharedLayers::start(int64_t index, Layer& to) {
  const base::TraceSpan span("shared base", "start gather", {{"layer", index}});
  std::vector<at::Tensor> receives;
  for (int rank = 0; rank < group_->world_size(); ++rank) {
    receives.push_back(to.flat.narrow(0, cut(rank), cut(rank + 1) - cut(rank)));
  }
  const at::Tensor& part = parts_[static_cast<size_t>(index)];
  to.index = index;
  to.work = group_->all_gather_async(part, receives);
  received_bytes_ += static_cast<int64_t>(to.flat.nbytes() - part.nbytes());
}

void SharedLayers::finish(Layer& layer) {
  if (!layer.work) return;
  const base::TraceSpan span("shared base", "wait for layer", {{"layer", layer.index}});
  const auto start = Clock::now();
  layer.work->wait();
  layer.work.reset();
  waited_ms_ += std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void SharedLayers::begin_step() {
  is_in_step_ = follows_program_ = true;
  asked_.clear();
  received_bytes_ = 0;
  waited_ms_ = 0.0;
}

void SharedLayers::end_step() {
  is_in_step_ = false;
  program_ = asked_;
}

int64_t SharedLayers::held_bytes() const {
  auto bytes = static_cast<int64_t>(now_.flat.nbytes() + next_.flat.nbytes());
  for (const at::Tensor& part : parts_) bytes += static_cast<int64_t>(part.nbytes());
  return bytes;
}

std::shared_ptr<SharedLayers> share_layers(models::CausalModel& model, parallel::Communicator& communicator,
                                           const std::string& over, const std::string& name, const at::Device& device) {
  const int color = over == "node" ? communicator.local_leader() : 0;
  const std::string group_name = over == "node" ? base::concat(name, " at rank ", color) : name;
  std::unique_ptr<parallel::Communicator> group = communicator.split(color, communicator.rank(), group_name);
  if (group->world_size() == 1) return nullptr;
  auto shared = std::make_shared<SharedLayers>(model, std::move(group), device);
  model.set_layer_source(shared);
  return shared;
}

}  // namespace rosa::training
