// A step of the demo's model on one long sequence, in pieces (train.sequence_chunk) or whole: forward, cross-entropy
// (or KL to the teacher) and backward. Prints the loss, seconds, and the most memory that the process had.
//
//     sequence_chunk_bench LENGTH CHUNK none|full [teacher]
//     sequence_chunk_bench LENGTH CHUNK equal      the same whole and in pieces: how far loss and gradients differ
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>

#include "base/file.h"
#include "models/causal_model.h"
#include "training/losses.h"

namespace rosa::training {
namespace {

using models::ActivationCheckpointing;

// The text over and over, so that what is long ago comes again.
at::Tensor text_tokens(int64_t length) {
  const std::string text = base::read_file(ROSA_SOURCE_DIR "/demo/text/prose_train.txt", 1 << 26);
  at::Tensor tokens = at::empty({1, length}, at::kLong);
  int64_t* token = tokens.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < length; ++i) token[i] = text[static_cast<size_t>(i) % text.size()] & 127;
  return tokens;
}

// MiB, of the process so far.
double highest_resident() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib / 1024;
  }
  return 0;
}

struct Step {
  double loss = 0.0, seconds = 0.0;
  std::map<std::string, at::Tensor> gradients;
};

Step run_step(int64_t length, int64_t chunk, ActivationCheckpointing checkpointing, bool has_teacher) {
  const models::CausalModel model = models::CausalModel::load(ROSA_SOURCE_DIR "/demo/teachers/lines");
  models::AdapterConfig config;
  config.num_heads = 32;
  config.zero_output_start = false;
  models::AdapterSet adapters(config, model.config(), 1);
  for (auto& [name, parameter] : adapters.parameters()) {
    if (models::is_fixed_hash(adapters.config(), name)) parameter.requires_grad_(false);
  }
  HostExecutor executor(1);
  models::ForwardOptions options;
  options.sliding_window = 32;
  options.adapters = &adapters;
  options.executor = &executor;
  options.operator_options.training = true;
  options.sequence_chunk = chunk;
  options.activation_checkpointing = checkpointing;
  LossInput input;
  input.labels = text_tokens(length);
  input.student_lm_head = input.teacher_lm_head = model.lm_head_weight();
  const auto start = std::chrono::steady_clock::now();
  if (has_teacher) input.teacher_hidden = model.teacher_hidden_states(input.labels, {}, chunk);
  input.student_hidden = model.hidden_states(input.labels, options);
  const auto tokens = static_cast<double>(length);
  LossConfig loss_config;
  loss_config.distill_alpha = has_teacher ? 1.0 : 0.0;
  const Loss loss = distillation_loss(input, loss_config, tokens, tokens - 1);
  input = {};
  loss.value.backward();
  Step step;
  step.loss = loss.value.item<double>();
  step.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const auto& [name, parameter] : adapters.parameters()) {
    if (parameter.grad().defined()) step.gradients[name] = parameter.grad();
  }
  return step;
}

int run(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: sequence_chunk_bench LENGTH CHUNK none|full|equal [teacher]\n");
    return 2;
  }
  at::set_num_threads(1);
  const int64_t length = std::stoll(arguments[1]), chunk = std::stoll(arguments[2]);
  const std::string what = arguments[3];
  const bool has_teacher = count > 4;
  const auto checkpointing = what == "full" ? ActivationCheckpointing::full : ActivationCheckpointing::none;
  const Step step = run_step(length, chunk, checkpointing, has_teacher);
  std::printf("T %ld, chunk %ld, %s%s: loss %.7f, %.1f s, peak %.0f MiB\n", length, chunk, what.c_str(),
              has_teacher ? ", teacher" : "", step.loss, step.seconds, highest_resident());
  if (what != "equal") return 0;
  const Step whole = run_step(length, 0, ActivationCheckpointing::none, has_teacher);
  double worst = 0.0;
  std::string name_of_worst;
  for (const auto& [name, gradient] : whole.gradients) {
    const at::Tensor difference = (gradient - step.gradients.at(name)).norm() / gradient.norm();
    if (difference.item<double>() < worst) continue;
    worst = difference.item<double>();
    name_of_worst = name;
  }
  std::printf("whole: loss %.7f, %.1f s, peak %.0f MiB\n", whole.loss, whole.seconds, highest_resident());
  std::printf("relative difference of the loss %.1e, of %zu gradients at most %.1e (%s)\n",
              std::abs(step.loss / whole.loss - 1), whole.gradients.size(), worst, name_of_worst.c_str());
  return 0;
}

}  // namespace
}  // namespace rosa::training

int main(int count, char** arguments) { return rosa::training::run(count, arguments); }
