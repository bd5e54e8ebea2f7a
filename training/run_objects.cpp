#include "training/run_objects.h"

#include <ATen/Parallel.h>

#include <filesystem>
#include <optional>

#include "base/error.h"
#include "parallel/device.h"
#include "parallel/nccl_communicator.h"
#include "training/automaton_threads.h"
#include "training/checkpoint_store.h"

namespace rosa::training {

namespace fs = std::filesystem;

RunParts RunObjects::parts(parallel::Communicator& communicator) const {
  return {.model = *model,
          .adapters = adapters.get(),
          .training_data = *training_data,
          .held_out_data = *held_out_data,
          .communicator = device_communicator ? *device_communicator : communicator,
          .executor = *executor,
          .device = device};
}

RunObjects build_run(const RunConfig& config, Objective objective, parallel::Communicator& communicator) {
  at::set_num_threads(static_cast<int>(config.compute.threads));
  RunObjects objects;
  communicator.set_debug_mode(config.parallel.debug_collectives);
  communicator.set_timeout(config.parallel.collective_timeout_s);
  objects.device = parallel::select_device(config.compute.device, communicator);
  objects.device_communicator = parallel::make_device_communicator(communicator, objects.device);
  if (objects.device_communicator) {
    objects.device_communicator->set_debug_mode(config.parallel.debug_collectives);
    objects.device_communicator->set_timeout(config.parallel.collective_timeout_s);
  }
  const bool from_scratch = objective == Objective::pretrain && config.model.from_scratch;
  base::require<base::ConfigError>(from_scratch || !config.model.folder.empty(),
                                   "model.folder is empty: name the Hugging Face folder of the base model");
  const auto seed = static_cast<uint64_t>(config.run.seed);
  objects.model = std::make_unique<models::Qwen3>(
      from_scratch ? models::Qwen3::random(config.model.architecture, seed)
                   : models::Qwen3::load(config.model.folder, config.model.compute_dtype));
  for (auto& entry : objects.model->parameters()) entry.second = entry.second.to(objects.device);
  if (objective == Objective::distill) {
    check_agreement(config);
    objects.adapters = std::make_unique<models::AdapterSet>(config.adapter, objects.model->config(), seed);
    for (auto& [name, tensor] : objects.adapters->parameters()) {
      tensor = tensor.detach().to(objects.device).set_requires_grad(true);
    }
  }
  const int64_t samples_per_step = config.train.micro_batches * config.train.micro_batch_sequences;
  objects.training_data = make_data_source(config.data, DataSplit::train, seed, samples_per_step);
  objects.held_out_data = make_data_source(config.data, DataSplit::held_out, seed, samples_per_step);
  base::require<base::ConfigError>(objects.training_data->vocabulary_size() <= objects.model->config().vocab_size,
                                   "data has a vocabulary of ", objects.training_data->vocabulary_size(),
                                   " tokens, but the model knows only ", objects.model->config().vocab_size);
  objects.executor = std::make_unique<HostExecutor>(num_automaton_threads(config.compute, communicator));
  return objects;
}

int64_t load_trained_weights(const RunConfig& config, RunObjects& objects) {
  const std::string& named = config.checkpoint.resume;
  if (fs::is_regular_file(named)) {
    objects.adapters->load(named);
    return 0;
  }
  std::optional<Checkpoint> checkpoint;
  if (named != "auto" && named != "none") {
    checkpoint.emplace(named);
  } else {
    checkpoint = CheckpointStore(fs::path(config.run.folder) / "checkpoints").newest_complete();
    base::require<base::CheckpointError>(checkpoint.has_value(), "no complete checkpoint in ", config.run.folder,
                                         "; has the run been trained?");
  }
  objects.adapters->load(checkpoint->folder() / kAdapterFile);
  return checkpoint->manifest().info.step;
}

}  // namespace rosa::training
