#include "training/run.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "models/export.h"
#include "parallel/device.h"
#include "parallel/nccl_communicator.h"
#include "parallel/replicas.h"
#include "training/checkpoint.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

int num_automaton_threads(const ComputeSection& compute, const parallel::Communicator& communicator) {
  if (compute.automaton_threads > 0) return static_cast<int>(compute.automaton_threads);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());  // honours the process's affinity
  return std::max(1, cores / communicator.local_size());
}

// The step counter as state: where a resumed run goes on.
class Progress : public base::Stateful {
 public:
  base::StateDict save_state() const override {
    base::StateDict state;
    state.values["num_steps_done"] = num_steps_done;
    return state;
  }
  void load_state(const base::StateDict& state) override {
    const auto found = state.values.find("num_steps_done");
    base::require<base::CheckpointError>(found != state.values.end() && std::holds_alternative<int64_t>(found->second),
                                         "the checkpoint holds no integer 'num_steps_done'");
    num_steps_done = std::get<int64_t>(found->second);
  }

  int64_t num_steps_done = 0;
};

// What must be equal for a resumed run to be the same run: data and model, by content.
class RunIdentity : public base::Stateful {
 public:
  RunIdentity(std::string data, int64_t num_steps, int64_t compute_threads)
      : data_(std::move(data)), num_steps_(num_steps), compute_threads_(compute_threads) {}

  base::StateDict save_state() const override {
    base::StateDict state;
    state.values["data"] = data_;
    state.values["num_steps"] = num_steps_;
    state.values["compute_threads"] = compute_threads_;
    return state;
  }
  void load_state(const base::StateDict& state) override {
    const auto check = [&](const std::string& name, const base::StateValue& mine) {
      const auto found = state.values.find(name);
      base::require<base::CheckpointError>(
          found != state.values.end() && found->second == mine, "the checkpoint was written with another ", name,
          " than this run has; use a new run.folder, or train.init_from for a warm start");
    };
    check("data", data_);
    check("num_steps", num_steps_);
    check("compute_threads", compute_threads_);
  }

 private:
  std::string data_;
  int64_t num_steps_, compute_threads_;
};

// The checkpoint a run goes on from, agreed upon by all ranks (rank 0 looks).
std::optional<fs::path> find_checkpoint(const RunConfig& config, const CheckpointStore& store,
                                        parallel::Communicator& communicator) {
  std::string found;
  if (communicator.rank() == 0) {
    if (config.checkpoint.resume == "auto") {
      const auto newest = store.newest_complete();
      if (newest) found = newest->string();
    } else if (config.checkpoint.resume == "none") {
      base::require<base::ConfigError>(!store.newest_complete(), "checkpoint.resume is none, but ", config.run.folder,
                                       " holds checkpoints; choose another run.folder or resume: auto");
    } else {
      base::require<base::CheckpointError>(fs::is_directory(config.checkpoint.resume),
                                           "checkpoint.resume: ", config.checkpoint.resume, " does not exist");
      found = config.checkpoint.resume;
    }
  }
  found = communicator.broadcast_text(found, /*root=*/0);
  if (found.empty()) return std::nullopt;
  return fs::path(found);
}

fs::path adapter_file(const fs::path& source) {
  if (!fs::is_directory(source)) return source;
  if (fs::exists(source / "adapter.safetensors")) return source / "adapter.safetensors";
  const CheckpointStore store(source / "checkpoints");
  const auto newest = store.newest_complete();
  base::require<base::ConfigError>(newest.has_value(), "train.init_from: ", source.string(),
                                   " holds neither adapter.safetensors nor checkpoints");
  return *newest / "adapter.safetensors";
}

bool any_rank(parallel::Communicator& communicator, bool value) {
  return communicator.all_reduce_values(std::vector<int64_t>{value ? 1 : 0}, parallel::Reduction::max).front() != 0;
}

// The loop of a run and its folder.
class Run {
 public:
  Run(const RunConfig& config, Objective objective, const RunContext& context)
      : config_(config),
        objective_(objective),
        context_(context),
        communicator_(context.communicator),
        store_(fs::path(config.run.folder) / "checkpoints"),
        objects_(build_run(config, objective, context.communicator)),
        trainer_(config, objects_.parts(context.communicator)),
        identity_(objects_.training_data->fingerprint(), config.train.num_steps, config.compute.threads) {
    state_ = trainer_.state();
    state_["progress"] = &progress_;
    state_["identity"] = &identity_;
  }

  RunOutcome run() {
    prepare_folder();
    resume_or_start();
    observe([&](TrainingObserver& o) { o.on_start(progress_.num_steps_done, config_.train.num_steps); });
    while (progress_.num_steps_done < config_.train.num_steps) {
      if (any_rank(communicator_, context_.stop_requested && context_.stop_requested())) {
        save();
        observe([&](TrainingObserver& o) { o.on_end(); });
        return RunOutcome::stopped;
      }
      const StepMetrics metrics = trainer_.step(progress_.num_steps_done);
      ++progress_.num_steps_done;
      observe([&](TrainingObserver& o) { o.on_step(metrics); });
      if (due(config_.evaluation.every)) {
        const EvaluationMetrics evaluation = trainer_.evaluate(progress_.num_steps_done);
        observe([&](TrainingObserver& o) { o.on_evaluation(evaluation); });
      }
      if (due(config_.checkpoint.every) || progress_.num_steps_done == config_.train.num_steps) save();
    }
    if (objective_ == Objective::pretrain && communicator_.rank() == 0) {
      models::export_qwen3(*objects_.model, fs::path(config_.run.folder) / "model");
    }
    observe([&](TrainingObserver& o) { o.on_end(); });
    communicator_.barrier();
    return RunOutcome::finished;
  }

 private:
  template <class Tell>
  void observe(Tell tell) {
    if (communicator_.rank() == 0) tell(context_.observer);
  }

  bool due(int64_t every) const { return every > 0 && progress_.num_steps_done % every == 0; }

  void prepare_folder() {
    if (communicator_.rank() == 0) {
      std::error_code error;
      fs::create_directories(config_.run.folder, error);
      base::require<base::FileError>(!error, "can't create ", config_.run.folder, ": ", error.message());
      base::write_file_atomically(fs::path(config_.run.folder) / "config.yaml", context_.resolved_config);
    }
    communicator_.barrier();
  }

  void resume_or_start() {
    const auto checkpoint = find_checkpoint(config_, store_, communicator_);
    if (checkpoint) {
      store_.load(*checkpoint, state_);
      observe([&](TrainingObserver& o) {
        o.on_notice(base::concat("resumed from ", checkpoint->string(), " after ", progress_.num_steps_done, " of ",
                                 config_.train.num_steps, " steps"));
      });
      return;
    }
    observe([&](TrainingObserver& o) {
      o.on_notice(base::concat("no checkpoint in ", config_.run.folder, ": starting at step 0"));
    });
    if (!config_.train.init_from.empty() && objects_.adapters) {
      objects_.adapters->load(adapter_file(config_.train.init_from));
    }
  }

  void save() {
    if (saved_step_ == progress_.num_steps_done) return;
    saved_step_ = progress_.num_steps_done;
    if (communicator_.rank() == 0) {
      const std::map<std::string, const base::Stateful*> state(state_.begin(), state_.end());
      const fs::path folder = store_.save(progress_.num_steps_done, state, {{"config.yaml", context_.resolved_config}});
      store_.keep_last(config_.checkpoint.keep_last);
      context_.observer.on_checkpoint(progress_.num_steps_done, folder);
    }
    communicator_.barrier();
  }

  const RunConfig& config_;
  Objective objective_;
  const RunContext& context_;
  parallel::Communicator& communicator_;
  CheckpointStore store_;
  RunObjects objects_;
  Trainer trainer_;
  Progress progress_;
  RunIdentity identity_;
  std::map<std::string, base::Stateful*> state_;
  int64_t saved_step_ = -1;
};

}  // namespace

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
  objects.device = parallel::select_device(config.compute.device, communicator);
  objects.device_communicator = parallel::make_device_communicator(communicator, objects.device);
  const bool from_scratch = objective == Objective::pretrain && config.model.from_scratch;
  base::require<base::ConfigError>(from_scratch || !config.model.folder.empty(),
                                   "model.folder is empty: name the Hugging Face folder of the base model");
  const auto seed = static_cast<uint64_t>(config.run.seed);
  objects.model = std::make_unique<models::Qwen3>(
      from_scratch ? models::Qwen3::random(config.model.architecture, seed)
                   : models::Qwen3::load(config.model.folder, config.model.compute_dtype));
  for (auto& entry : objects.model->parameters()) entry.second = entry.second.to(objects.device);
  if (objective == Objective::distill) {
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

RunOutcome train_run(const RunConfig& config, Objective objective, const RunContext& context) {
  base::require<base::ConfigError>(!config.run.folder.empty(), "run.folder is empty: name where the run is kept");
  parallel::compare_across_ranks(context.communicator, "configuration", context.resolved_config);
  parallel::compare_across_ranks(context.communicator, "program version", ROSA_VERSION);
  parallel::compare_across_ranks(context.communicator, "CPU capability", at::get_cpu_capability());
  return Run(config, objective, context).run();
}

int64_t load_trained_weights(const RunConfig& config, RunObjects& objects) {
  const CheckpointStore store(fs::path(config.run.folder) / "checkpoints");
  fs::path checkpoint;
  if (config.checkpoint.resume != "auto" && config.checkpoint.resume != "none") {
    checkpoint = config.checkpoint.resume;
  } else {
    const auto newest = store.newest_complete();
    base::require<base::CheckpointError>(newest.has_value(), "no complete checkpoint in ", config.run.folder,
                                         "; has the run been trained?");
    checkpoint = *newest;
  }
  Progress progress;
  store.load(checkpoint, {{"progress", &progress}});
  objects.adapters->load(checkpoint / "adapter.safetensors");
  return progress.num_steps_done;
}

}  // namespace rosa::training
