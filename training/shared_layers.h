// SharedLayers: the frozen projections of a model's layers, shared out over the ranks of a group (parallel.shard_base).
// Each rank keeps its part of every layer; the whole of a layer is gathered just ahead of its use, on a communicator of
// its own, and stays until the next but one comes. Norms, biases, embedding and lm_head stay with the model.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/causal_model.h"
#include "models/layer_source.h"
#include "parallel/communicator.h"

namespace rosa::training {

class SharedLayers final : public models::LayerSource {
 public:
  // Copies this rank's part of the projections out of `model`, which gives up the whole, to `device`. Every rank of
  // `group` has loaded the same weights.
  SharedLayers(models::CausalModel& model, std::unique_ptr<parallel::Communicator> group, const at::Device& device);

  // Collective: every rank of the group asks for the same layers in the same order.
  at::Tensor weight(int64_t layer, models::Projection projection) override;

  // A step asks for the layers in the order of the step before: which one is fetched ahead is known then. Elsewhere it
  // is the next one in the direction of the last two.
  void begin_step();
  void end_step();

  int num_ranks() const { return group_->world_size(); }
  // Of the parts and of the two layers that are held whole.
  int64_t held_bytes() const;
  // Since the beginning of the step.
  int64_t received_bytes() const { return received_bytes_; }
  double waited_ms() const { return waited_ms_; }

 private:
  struct Layer {
    int64_t index = -1;
    at::Tensor flat;                       // the projections behind each other
    std::unique_ptr<parallel::Work> work;  // null: complete
  };

  int64_t cut(int rank) const;  // where the part of a rank begins
  void start(int64_t index, Layer& to);
  void finish(Layer& layer);
  void go_to(int64_t index);
  void note(int64_t index);
  int64_t expected_after(int64_t before, int64_t index) const;

  const std::unique_ptr<parallel::Communicator> group_;
  std::array<std::vector<int64_t>, models::kNumProjections> shapes_;
  std::array<int64_t, models::kNumProjections> offsets_ = {};
  int64_t layer_elements_ = 0;
  std::vector<at::Tensor> parts_;  // by layer
  Layer now_, next_;
  std::vector<int64_t> program_, asked_;  // of the last step, and of this one so far
  bool is_in_step_ = false, follows_program_ = false;
  int64_t received_bytes_ = 0;
  double waited_ms_ = 0.0;
};

// Lets the ranks of a host (`over`: node) or all (all) share out the layers of `model`, before it is moved to `device`.
// Null, and nothing is changed, where a group has one rank. `name` is the model's in messages. Collective: every rank
// calls it.
std::shared_ptr<SharedLayers> share_layers(models::CausalModel& model, parallel::Communicator& communicator,
                                           const std::string& over, const std::string& name, const at::Device& device);

}  // namespace rosa::training
