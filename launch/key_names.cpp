#include "launch/key_names.h"

#include <algorithm>
#include <cctype>

#include "base/nearest_name.h"

namespace rosa::launch {
namespace {

std::string plain_name(const std::string& name) {
  std::string plain;
  for (const char sign : name) {
    plain += sign == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(sign)));
  }
  return plain;
}

std::string quoted(const std::string& key) { return "; did you mean " + key + "?"; }

}  // namespace

const UsualNames& usual_names() {
  static const UsualNames names = [] {
    const std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> meanings = {
        {{"schedules.learning_rate.start", "learning_rate.start"},
         {"lr", "learning_rate", "base_lr", "max_lr", "peak_lr", "init_lr"}},
        {{"schedules.learning_rate.end", "learning_rate.end"}, {"min_lr", "final_lr", "lr_end", "min_learning_rate"}},
        {{"schedules.learning_rate.shape", "learning_rate.shape"},
         {"lr_scheduler", "lr_scheduler_type", "lr_schedule", "scheduler", "lr_decay"}},
        {{"schedules.learning_rate.warmup_steps", "learning_rate.warmup_steps"},
         {"warmup", "warmup_steps", "lr_warmup_steps", "num_warmup_steps", "warmup_ratio", "warmup_iters"}},
        {{"train.micro_batch_sequences", "data.num_samples"},
         {"batch_size", "train_batch_size", "micro_batch_size", "per_device_train_batch_size", "device_batch_size",
          "bs"}},
        {{"train.micro_batches", "data.micro_batches"},
         {"gradient_accumulation_steps", "grad_accum", "gradient_accumulation", "accumulation_steps",
          "accumulate_grad_batches", "global_batch_size", "grad_accum_steps"}},
        {{"train.num_steps", "experiment.num_steps"},
         {"max_steps", "steps", "max_iters", "iterations", "num_iterations", "train_steps", "total_steps",
          "num_train_steps", "training_steps"}},
        {{"train.num_epochs", "experiment.num_steps"}, {"epochs", "num_epochs", "num_train_epochs", "max_epochs"}},
        {{"data.sequence_length", "data.length"},
         {"context_length", "context", "seq_len", "seq_length", "max_seq_len", "max_seq_length", "max_length",
          "block_size", "ctx_len", "context_size", "sequence_len", "n_ctx", "cutoff_len"}},
        {{"data.vocabulary_size"}, {"vocab_size", "vocab", "n_vocab"}},
        {{"optimizer.clip"},
         {"max_grad_norm", "grad_clip", "gradient_clipping", "clip_grad", "clip_grad_norm", "gradient_clip_val",
          "grad_norm", "max_norm"}},
        {{"optimizer.beta1"}, {"betas", "adam_beta1", "beta_1"}},
        {{"optimizer.beta2"}, {"adam_beta2", "beta_2"}},
        {{"optimizer.epsilon"}, {"eps", "adam_eps", "adam_epsilon"}},
        {{"train.early_stop.patience"}, {"early_stopping", "early_stopping_patience", "patience"}},
        {{"optimizer.groups"}, {"param_groups", "parameter_groups", "lr_multipliers", "layer_lr"}},
        {{"optimizer.weight_decay_on"}, {"no_decay", "exclude_from_weight_decay"}},
        {{"optimizer.weight_decay"}, {"wd", "l2", "decay"}},
        {{"run.folder", "experiment.folder"},
         {"output_dir", "out_dir", "output", "save_dir", "log_dir", "run_dir", "run_name", "checkpoint_dir"}},
        {{"run.seed", "experiment.seeds"}, {"random_seed", "rng_seed", "manual_seed"}},
        {{"model.folder"},
         {"model_name_or_path", "model_path", "model_name", "model_dir", "base_model", "pretrained", "teacher",
          "pretrained_model_name_or_path", "path"}},
        {{"model.compute_dtype"}, {"dtype", "torch_dtype", "bf16", "fp16", "precision", "mixed_precision"}},
        {{"student.sliding_window"}, {"window", "window_size", "attention_window", "local_window"}},
        {{"adapter.num_heads"}, {"heads", "n_heads", "n_head"}},
        {{"data.train_path"},
         {"train_file", "train_data", "train_dataset", "dataset", "dataset_path", "data_path", "training_data",
          "training_file", "train_files", "corpus"}},
        {{"data.held_out_path"},
         {"validation_file", "val_file", "eval_file", "valid_path", "val_path", "validation_path", "test_file",
          "eval_data", "val_data", "validation_data", "eval_path", "heldout_path"}},
        {{"evaluation.every", "experiment.evaluate_every"},
         {"eval_steps", "eval_every", "eval_interval", "val_every", "val_interval", "evaluation_steps", "eval_freq"}},
        {{"evaluation.num_sequences", "experiment.num_evaluation_samples"},
         {"eval_iters", "eval_samples", "num_eval_samples", "max_eval_samples", "eval_batches"}},
        {{"checkpoint.every", "experiment.save_seconds"},
         {"save_steps", "save_every", "save_interval", "checkpoint_every", "checkpoint_interval", "ckpt_every",
          "save_freq"}},
        {{"checkpoint.keep_last"}, {"save_total_limit", "max_checkpoints", "keep_checkpoints", "keep"}},
        {{"checkpoint.resume"},
         {"resume_from_checkpoint", "resume_from", "load_checkpoint", "resume_path", "resume_checkpoint"}},
        {{"logging.every", "experiment.log_every"},
         {"logging_steps", "log_every", "log_interval", "log_steps", "log_freq"}},
        {{"train.activation_checkpointing"},
         {"gradient_checkpointing", "activation_checkpoint", "grad_checkpointing", "use_gradient_checkpointing"}},
        {{"train.trainable"}, {"trainable_parameters", "target_modules", "trainable_modules", "freeze"}},
        {{"compute.threads"}, {"num_threads", "num_workers", "n_threads", "omp_num_threads"}},
        {{"compute.device"}, {"gpu", "use_cuda", "accelerator", "use_gpu"}},
        {{"loss.temperature"}, {"distillation_temperature", "kd_temperature", "kl_temperature"}},
        {{"loss.divergence"}, {"kd_loss", "divergence_loss", "kl_type", "kd_type"}},
        {{"loss.distill_alpha"}, {"distillation_alpha", "kd_alpha", "kl_weight", "distill_weight"}},
    };
    UsualNames result;
    for (const auto& [keys, others] : meanings) {
      for (const std::string& other : others) result[other] = keys;
    }
    return result;
  }();
  return names;
}

std::string key_suggestion(const std::string& prefix, const std::string& name, const KnownKeys& known) {
  if (const auto usual = usual_names().find(plain_name(name)); usual != usual_names().end()) {
    for (const std::string& key : usual->second) {
      if (known.contains(key)) return "; here that is " + key + ": " + known.at(key);
    }
  }
  std::vector<std::string> siblings, all;
  for (const auto& [key, help] : known) {
    all.push_back(key);
    if (key.starts_with(prefix) && key.find('.', prefix.size()) == std::string::npos) {
      siblings.push_back(key.substr(prefix.size()));
    }
  }
  if (const std::string nearest = base::nearest_name(name, siblings); !nearest.empty()) return quoted(prefix + nearest);
  for (const std::string& key : all) {
    if (key.size() > name.size() && key.ends_with("." + name)) return quoted(key);
  }
  // A slip in the name of the section, or of a key that stands in another one.
  if (const std::string nearest = base::nearest_name(prefix + name, all); !nearest.empty()) return quoted(nearest);
  std::vector<std::string> last_names;
  for (const std::string& key : all) last_names.push_back(key.substr(key.rfind('.') + 1));
  const std::string nearest = base::nearest_name(name, last_names);
  const auto found = std::find(last_names.begin(), last_names.end(), nearest);
  return nearest.empty() ? "" : quoted(all[static_cast<std::size_t>(found - last_names.begin())]);
}

}  // namespace rosa::launch
