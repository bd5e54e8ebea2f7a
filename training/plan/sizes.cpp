#include "training/plan/sizes.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "models/causal_model.h"
#include "parallel/reduction_config.h"
#include "training/backward_order.h"
#include "training/data/data_config.h"
#include "training/lora.h"
#include "training/optimizer.h"
#include "training/trained_base.h"

namespace rosa::training {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

int64_t num_elements(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t num_elements(const Shapes& shapes) {
  int64_t total = 0;
  for (const auto& [name, shape] : shapes) total += num_elements(shape);
  return total;
}

}  // namespace

RunSizes::RunSizes(const RunConfig& config, Objective objective, const models::ModelConfig& model) : config_(config) {
  Shapes shapes = models::parameter_shapes(model);
  num_base_ = num_elements(shapes);
  if (objective == Objective::distill) {
    adapter_ = models::resolve(config.adapter, model);
    shapes = models::adapter_parameter_shapes(*adapter_, model);
    num_adapter_ = num_elements(shapes);
    const Shapes of_base = models::parameter_shapes(model);
    for (const std::string& name : trained_base_names(config.train, model)) {
      shapes[name] = of_base.at(name);
      num_trained_base_ += num_elements(of_base.at(name));
    }
    Shapes of_lora = lora_shapes(config.lora, model);
    num_lora_ = num_elements(of_lora);
    shapes.merge(of_lora);
  }
  NamedTensors all;  // without tensors: the names decide
  for (const auto& [name, shape] : shapes) all[name];
  for (const auto& [name, tensor] : select_trained(all, trained_patterns(config, objective, model), config.optimizer)) {
    trained_.insert(name);
    trained_names_.push_back(name);
    trained_sizes_.push_back(num_elements(shapes.at(name)));
  }
}

int64_t RunSizes::num_trained() const {
  return std::accumulate(trained_sizes_.begin(), trained_sizes_.end(), int64_t{0});
}

int64_t RunSizes::base_bytes() const {
  const int64_t element = config_.model.compute_dtype == "bfloat16" ? 2 : 4;
  // What is trained is float32; as it was, it stays for the teacher, where the base is that.
  const int64_t of_teacher = config_.teacher.folder.empty() ? element : 0;
  return num_base_ * element + num_trained_base_ * (static_cast<int64_t>(sizeof(float)) - element + of_teacher);
}

int64_t RunSizes::adapter_bytes() const { return (num_adapter_ + num_lora_) * static_cast<int64_t>(sizeof(float)); }

int64_t RunSizes::longest_sequence() const {
  int64_t longest = 0;
  for (const DataStage& stage : stages(config_.data)) longest = std::max(longest, stage.sequence_length);
  return longest;
}

parallel::FlatLayout RunSizes::layout(int world_size) const {
  return {trained_sizes_, backward_order(trained_names_), parallel::bucket_elements(config_.parallel), world_size};
}

}  // namespace rosa::training
