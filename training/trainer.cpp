#include "training/trainer.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/activity.h"
#include "base/error.h"
#include "base/log.h"
#include "base/process_memory.h"
#include "base/trace.h"
#include "parallel/replicas.h"
#include "training/backward_order.h"
#include "training/device_memory.h"
#include "training/fault_injection.h"
#include "training/lora.h"
#include "training/losses.h"
#include "training/plan/flops.h"
#include "training/trained_base.h"

namespace rosa::training {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxBlamed = 3;
constexpr double kTera = 1e12;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

// What LossInput::kl_mask is for a batch.
at::Tensor kl_mask_of(const Batch& batch, const LossConfig& config) {
  return config.kl_on == KlPositions::masked ? batch.loss_mask : at::Tensor();
}

double total_loss(const LossConfig& config, double kl, double ce, double alignment) {
  return config.output * (config.distill_alpha * kl + (1.0 - config.distill_alpha) * ce) + config.alignment * alignment;
}

// For tests: a loss that is not finite in its sums and its gradient, in the gradient alone, or far too high.
void inject_loss_fault(Loss& loss, int64_t step) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  if (fault_is_due("nan_loss", step)) {
    loss.sums.kl = loss.sums.ce = kNaN;
    loss.value = loss.value * kNaN;
  }
  if (fault_is_due("nan_gradient", step)) loss.value = loss.value * kNaN;
  if (fault_is_due("spike", step)) {
    constexpr double kFactor = 1e4;
    loss.sums.kl *= kFactor;
    loss.sums.ce *= kFactor;
    loss.value = loss.value * kFactor;
  }
}

}  // namespace

StepSettings step_settings(const SchedulesSection& schedules, int64_t step, int64_t num_steps) {
  return {.learning_rate = schedule_value(schedules.learning_rate, step, num_steps),
          .alpha = schedule_value(schedules.alpha, step, num_steps),
          .bits_tau = schedule_value(schedules.bits_tau, step, num_steps),
          .attn_tau = schedule_value(schedules.attn_tau, step, num_steps)};
}

Trainer::Trainer(const RunConfig& config, RunParts parts, StepSpan span)
    : config_(config), parts_(parts), span_(std::move(span)), step_guard_(config.failures.step_guard) {
  if (config_.evaluation.every > 0) check_held_out_data(config_, parts_.held_out_data);
  NamedTensors all = parts_.adapters ? parts_.adapters->parameters() : parts_.model.parameters();
  weights_ = std::make_unique<WeightState>(all);
  const NamedTensors of_base = parts_.adapters ? trained_base(config_.train, parts_.model) : NamedTensors();
  if (!of_base.empty()) base_weights_ = std::make_unique<WeightState>(of_base);
  all.insert(of_base.begin(), of_base.end());
  const NamedTensors of_lora = lora_weights(parts_.adapters);
  if (!of_lora.empty()) lora_weights_ = std::make_unique<WeightState>(of_lora);
  all.insert(of_lora.begin(), of_lora.end());
  const Objective objective = parts_.adapters ? Objective::distill : Objective::pretrain;
  trained_ = select_trained(all, trained_patterns(config_, objective, parts_.model.config()), config_.optimizer);
  for (const auto& [name, tensor] : all) tensor.set_requires_grad(trained_.contains(name));
  NamedTensors values;
  for (const auto& [name, tensor] : all) values.emplace(name, tensor.detach());
  parallel::broadcast_parameters(parts_.communicator, values);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : trained_) names.push_back(name);
  engine_ = std::make_unique<StepEngine>(parts_.communicator, config_.parallel, config_.optimizer, trained_,
                                         config_.train.micro_batches, backward_order(names));
}

Trainer::~Trainer() = default;

void Trainer::accept_other_tensors() {
  const bool tells = parts_.communicator.rank() == 0;
  const auto tell = [tells](const std::string& what) {
    if (tells) base::log_warning(what);
  };
  weights_->accept_other_tensors(tell);
  if (base_weights_) base_weights_->accept_other_tensors(tell);
  if (lora_weights_) lora_weights_->accept_other_tensors(tell);
  engine_->optimizer().accept_other_tensors(tell);
}

std::map<std::string, base::Stateful*> Trainer::state() {
  std::map<std::string, base::Stateful*> states = {{parts_.adapters ? "adapter" : "model", weights_.get()},
                                                   {"optimizer", &engine_->optimizer()},
                                                   {"step_guard", &step_guard_}};
  if (base_weights_) states[kBaseState] = base_weights_.get();
  if (lora_weights_) states[kLoraState] = lora_weights_.get();
  return states;
}

StepMetrics Trainer::step(int64_t step) {
  base::begin_trace_step(step);
  const base::TraceSpan span("step", "step");
  StepMetrics metrics = begin_step(step);
  const StepSettings settings = step_settings(config_.schedules, step - span_.first_step, config_.train.num_steps);
  const std::vector<Batch> batches = load_micro_batches(step);
  const LossSums counts = global_counts(batches);

  std::vector<LossSums> sums;
  std::vector<std::vector<LossSums>> sequences;
  std::vector<std::vector<double>> code_losses;
  for (size_t i = 0; i < batches.size(); ++i) {
    const models::CodeTraining codes = code_training(step, engine_->owned().first + static_cast<int64_t>(i));
    Loss loss = micro_batch_loss(batches[i], settings, counts, codes);
    inject_loss_fault(loss, step);
    engine_->backward(loss.value);
    sums.push_back(loss.sums);
    sequences.push_back(std::move(loss.sequences));
    if (codes.values == nullptr) continue;
    const models::CodeLosses means = models::mean_losses(*codes.values);
    code_losses.push_back({means.balance, means.consistency});
  }
  engine_->reduce();
  const GlobalLoss loss = global_loss(sums, code_losses, counts);

  const double norm = engine_->gradient_norm();
  const StepDecision decision = step_guard_.decide(
      {.step = step, .loss = loss.loss, .gradient_norm = norm}, [&] { return blame(sums); }, parts_.communicator);
  if (decision == StepDecision::update) engine_->update(settings.learning_rate);

  metrics.loss = loss.loss;
  metrics.kl = loss.kl;
  metrics.divergence = divergence_text(config_.loss);
  metrics.ce = loss.ce;
  if (config_.loss.alignment > 0) metrics.alignment = loss.alignment;
  if (config_.loss.code_balance > 0) metrics.code_balance = loss.codes.balance;
  if (config_.loss.code_consistency > 0) metrics.code_consistency = loss.codes.consistency;
  metrics.gradient_norm = norm;
  metrics.learning_rate = settings.learning_rate;
  metrics.alpha = settings.alpha;
  metrics.bits_tau = settings.bits_tau;
  metrics.attn_tau = settings.attn_tau;
  metrics.decision = decision;
  metrics.num_skipped = step_guard_.num_skipped();
  metrics.num_spikes = step_guard_.num_spikes();
  end_step(metrics, batches.front().input_ids.size(1));
  if (is_logged_) {
    metrics.layers = layer_metrics();
    metrics.sources = source_metrics(step, batches, sequences);
  }
  return metrics;
}

// The loss of each source of a mixture over the global batch, with the same bits for any number of ranks.
std::vector<SourceMetrics> Trainer::source_metrics(int64_t step, const std::vector<Batch>& batches,
                                                   const std::vector<std::vector<LossSums>>& sequences) {
  const std::vector<std::string> names = parts_.training_data.source_names();
  if (names.empty()) return {};
  constexpr size_t kNumbers = 7;
  std::vector<std::vector<double>> values;
  for (size_t i = 0; i < batches.size(); ++i) {
    std::vector<double>& own = values.emplace_back(names.size() * kNumbers, 0.0);
    const auto* source = batches[i].sources.const_data_ptr<int64_t>();
    for (const LossSums& sums : sequences[i]) {
      double* numbers = own.data() + static_cast<size_t>(*source++) * kNumbers;
      numbers[0] += sums.kl;
      numbers[1] += sums.ce;
      numbers[2] += sums.kl_count;
      numbers[3] += sums.ce_count;
      numbers[4] += 1;
      numbers[5] += sums.alignment;
      numbers[6] += sums.alignment_count;
    }
  }
  const std::vector<double> total = engine_->sum(values);
  const std::vector<double> epochs = parts_.training_data.source_epochs(step + 1);
  std::vector<SourceMetrics> metrics;
  for (size_t i = 0; i < names.size(); ++i) {
    const double* numbers = total.data() + i * kNumbers;
    SourceMetrics& source = metrics.emplace_back();
    source.name = names[i];
    source.epochs = epochs[i];
    source.num_sequences = static_cast<int64_t>(numbers[4]);
    source.kl = numbers[2] > 0 ? numbers[0] / numbers[2] : 0.0;
    source.ce = numbers[3] > 0 ? numbers[1] / numbers[3] : 0.0;
    const double alignment = numbers[6] > 0 ? numbers[5] / numbers[6] : 0.0;
    source.loss = total_loss(config_.loss, source.kl, source.ce, alignment);
  }
  return metrics;
}

// What the automata saw in this step, over all ranks.
std::vector<LayerMetrics> Trainer::layer_metrics() {
  if (parts_.adapters == nullptr) return {};
  return reduce_layer_statistics(parts_.executor.take_statistics(), gate_statistics_,
                                 parts_.adapters->config().query_key_bits, parts_.communicator);
}

StepMetrics Trainer::begin_step(int64_t step) {
  step_start_ = Clock::now();
  parts_.executor.take_statistics();  // of evaluations
  gate_statistics_.clear();
  waited_before_ms_ = parts_.executor.waited_ms();
  engine_->begin();
  for (SharedLayers* layers : parts_.shared_layers) layers->begin_step();
  StepMetrics metrics;
  metrics.step = step;
  metrics.num_steps = num_steps_of_run();
  is_logged_ = is_logged_step(step, metrics.num_steps, config_.logging.every);
  metrics.stage = span_.stage;
  return metrics;
}

int64_t Trainer::num_steps_of_run() const {
  return span_.num_steps_of_run > 0 ? span_.num_steps_of_run : config_.train.num_steps;
}

// What a step cost.
void Trainer::end_step(StepMetrics& metrics, int64_t sequence_length) const {
  const double tokens =
      static_cast<double>(sequence_length * config_.train.micro_batch_sequences * config_.train.micro_batches);
  const parallel::ReductionTimes& times = engine_->reduction_times();
  metrics.step_ms = milliseconds_since(step_start_);
  metrics.tokens_per_second = tokens / (metrics.step_ms / 1000.0);
  metrics.match_wait_ms = parts_.executor.waited_ms() - waited_before_ms_;
  metrics.match_wait_share = metrics.match_wait_ms / metrics.step_ms;
  metrics.communication_wait_ms = engine_->communication_ms();
  for (SharedLayers* layers : parts_.shared_layers) {
    layers->end_step();
    metrics.base_part_bytes = metrics.base_part_bytes.value_or(0) + layers->held_bytes();
    metrics.base_gather_bytes = metrics.base_gather_bytes.value_or(0) + layers->received_bytes();
    metrics.base_gather_wait_ms = metrics.base_gather_wait_ms.value_or(0.0) + layers->waited_ms();
  }
  metrics.communication_wait_ms += metrics.base_gather_wait_ms.value_or(0.0);
  metrics.gradient_communication_ms = times.communication_ms;
  metrics.exposed_communication = times.communication_ms > 0.0 ? times.exposed_ms / times.communication_ms : 0.0;
  metrics.memory_bytes = peak_memory_bytes();
  if (is_logged_) {
    if (const auto memory = base::read_process_memory()) metrics.proportional_bytes = memory->proportional_bytes;
  }
  metrics.optimizer_bytes = optimizer_bytes();
  if (const auto memory = device_memory(parts_.device)) {
    metrics.device_allocated_bytes = memory->allocated;
    metrics.device_reserved_bytes = memory->reserved;
    metrics.device_peak_bytes = memory->peak;
  }
  metrics.model_tflops = tokens * flops_per_token(sequence_length) / kTera;
  metrics.tflops_per_second = metrics.model_tflops / (metrics.step_ms / 1000.0);
  const double peak = config_.logging.peak_tflops * static_cast<double>(parts_.communicator.world_size());
  if (peak > 0.0) metrics.flop_use = metrics.tflops_per_second / peak;
}

double Trainer::flops_per_token(int64_t sequence_length) const {
  FlopsInput input{.model = parts_.model.config(), .trained = {}};
  if (parts_.adapters != nullptr) {
    input.adapter = &parts_.adapters->config();
    input.sliding_window = config_.student.sliding_window;
    input.layer_windows = windows_of_layers(config_.student, parts_.model.config().num_hidden_layers);
    input.sink_tokens = config_.student.sink_tokens;
    input.low_rank = lora_shapes(config_.lora, parts_.model.config());
    if (config_.loss.has_teacher()) input.teacher = &parts_.teacher().config();
    set_passes(input, config_.loss);
  }
  input.sequence_length = sequence_length;
  for (const auto& [name, tensor] : trained_) input.trained.insert(name);
  return token_flops(input).total();
}

// Which of this rank's micro-batches have a loss, and which of its parameters a gradient, that is not finite; empty
// where all are.
std::string Trainer::blame(const std::vector<LossSums>& sums) const {
  std::string text;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (std::isfinite(sums[i].kl) && std::isfinite(sums[i].ce) && std::isfinite(sums[i].alignment)) continue;
    text += base::concat(text.empty() ? "" : ", ", "the loss of micro-batch ",
                         engine_->owned().first + static_cast<int64_t>(i));
  }
  const std::vector<std::string> names = engine_->not_finite();
  for (std::size_t i = 0; i < std::min(names.size(), kMaxBlamed); ++i) {
    text += base::concat(text.empty() ? "" : ", ", "the gradient of '", names[i], "'");
  }
  if (names.size() > kMaxBlamed) text += base::concat(" and of ", names.size() - kMaxBlamed, " more");
  return text;
}

void Trainer::require_finite_weights() const {
  std::string found;
  for (const auto& [name, tensor] : trained_) {
    if (!at::isfinite(tensor.detach()).all().item<bool>())
      found += base::concat(found.empty() ? "" : ", ", "'", name, "'");
  }
  std::string text;
  const std::vector<std::string> all = parts_.communicator.all_gather_text(found);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].empty()) text += base::concat(text.empty() ? "" : "; ", "rank ", rank, ": ", all[rank]);
  }
  base::require<base::NumericError>(text.empty(), "weights are not finite and will not be saved: ", text,
                                    "; the checkpoints that stand are from before");
}

std::vector<Batch> Trainer::load_micro_batches(int64_t step) const {
  const base::PhaseScope phase(base::Phase::data);
  const int64_t sequences = config_.train.micro_batch_sequences;
  const auto [first, end] = engine_->owned();
  std::vector<Batch> batches;
  for (int64_t i = first; i < end; ++i) {
    batches.push_back(parts_.training_data.batch(step, i * sequences, sequences));
  }
  return batches;
}

// Everything of a micro-batch's loss but the student: labels, weights and the teacher's hidden states.
LossInput Trainer::loss_input(const Batch& batch, Alignment* alignment) const {
  LossInput input;
  input.labels = batch.labels.to(parts_.device);
  if (batch.loss_weights.defined()) input.loss_weights = batch.loss_weights.to(parts_.device);
  if (batch.padding.defined()) input.padding = batch.padding.to(parts_.device);
  const at::Tensor kl_mask = kl_mask_of(batch, config_.loss);
  if (kl_mask.defined()) input.kl_mask = kl_mask.to(parts_.device);
  input.student_lm_head = parts_.model.lm_head_weight();
  if (parts_.adapters && config_.loss.has_teacher()) {
    const at::Tensor documents = batch.documents.defined() ? batch.documents.to(parts_.device) : at::Tensor();
    const at::Tensor input_ids = batch.input_ids.to(parts_.device);
    const base::PhaseScope phase(base::Phase::teacher_forward);
    input.teacher_hidden =
        alignment != nullptr
            ? alignment->run_teacher(input_ids, documents, config_.train.sequence_chunk)
            : parts_.teacher().teacher_hidden_states(input_ids, documents, config_.train.sequence_chunk);
    input.teacher_lm_head = parts_.teacher().lm_head_weight();
  }
  return input;
}

models::ForwardOptions Trainer::training_options(const Batch& batch, const StepSettings& settings) {
  models::ForwardOptions options;
  if (parts_.adapters) {
    options = student_options(config_, parts_.model, parts_.adapters, parts_.executor);
    options.operator_options.training = true;
    options.operator_options.alpha = settings.alpha;
    options.operator_options.bits_tau = settings.bits_tau;
    options.operator_options.attn_tau = settings.attn_tau;
    if (is_logged_) options.gate_statistics = &gate_statistics_;
  }
  options.activation_checkpointing = config_.train.activation_checkpointing;
  options.sequence_chunk = config_.train.sequence_chunk;
  if (batch.documents.defined()) options.documents = batch.documents.to(parts_.device);
  return options;
}

// What micro-batch `micro_batch` of the global batch does for the codes: its part of the losses, and random numbers of
// its own.
models::CodeTraining Trainer::code_training(int64_t step, int64_t micro_batch) const {
  models::CodeTraining codes;
  if (parts_.adapters == nullptr) return codes;
  codes.seed = static_cast<uint64_t>(config_.run.seed);
  codes.step = step;
  codes.first_sample = micro_batch * config_.train.micro_batch_sequences;
  if (!config_.loss.has_code_losses()) return codes;
  const auto parts = static_cast<double>(config_.train.micro_batches);
  codes.weights = {config_.loss.code_balance / parts, config_.loss.code_consistency / parts};
  codes.values = std::make_shared<std::map<int64_t, at::Tensor>>();
  return codes;
}

Loss Trainer::micro_batch_loss(const Batch& batch, const StepSettings& settings, const LossSums& counts,
                               const models::CodeTraining& codes) {
  std::optional<Alignment> alignment;
  if (config_.loss.alignment > 0) alignment.emplace(config_, parts_.model, parts_.teacher());
  LossInput input = loss_input(batch, alignment ? &*alignment : nullptr);
  {
    const base::PhaseScope phase(base::Phase::student_forward);
    const at::Tensor input_ids = batch.input_ids.to(parts_.device);
    models::ForwardOptions options = training_options(batch, settings);
    options.codes = codes;
    // Fed with the teacher's states a forward says nothing of what the student gives.
    const bool is_fed = config_.loss.has_fed_forward();
    if (alignment && !is_fed) alignment->watch(options);
    if (config_.loss.has_own_forward()) input.student_hidden = parts_.model.hidden_states(input_ids, options);
    if (is_fed) {
      // The losses on codes count once.
      if (config_.loss.has_own_forward()) options.codes.weights = {};
      alignment->feed(options);
      const at::Tensor fed = parts_.model.hidden_states(input_ids, options);
      if (!input.student_hidden.defined()) input.student_hidden = fed;
    }
  }
  Loss loss = distillation_loss(input, config_.loss, counts.kl_count, counts.ce_count);
  if (alignment) alignment->add_to(loss, input.padding, counts.alignment_count);
  return loss;
}

// The sum over the global batch, with the same bits for any number of ranks.
LossSums Trainer::sum_over_micro_batches(const std::vector<LossSums>& own) {
  std::vector<std::vector<double>> values;
  for (const LossSums& sums : own) {
    values.push_back({sums.kl, sums.ce, sums.kl_count, sums.ce_count, sums.alignment, sums.alignment_count});
  }
  const std::vector<double> total = engine_->sum(values);
  return {total[0], total[1], total[2], total[3], total[4], total[5]};
}

LossSums Trainer::global_counts(const std::vector<Batch>& batches) {
  std::vector<LossSums> own;
  for (const Batch& batch : batches) {
    LossInput input;
    input.labels = batch.labels;
    input.loss_weights = batch.loss_weights;
    input.padding = batch.padding;
    input.kl_mask = kl_mask_of(batch, config_.loss);
    own.push_back(count_tokens(input, parts_.model.config().vocab_size));
  }
  return sum_over_micro_batches(own);
}

Trainer::GlobalLoss Trainer::global_loss(const std::vector<LossSums>& sums,
                                         const std::vector<std::vector<double>>& codes, const LossSums& counts) {
  const LossSums total = sum_over_micro_batches(sums);
  GlobalLoss loss;
  loss.kl = counts.kl_count > 0 ? total.kl / counts.kl_count : 0.0;
  loss.ce = counts.ce_count > 0 ? total.ce / counts.ce_count : 0.0;
  loss.alignment = counts.alignment_count > 0 ? total.alignment / counts.alignment_count : 0.0;
  loss.loss = total_loss(config_.loss, loss.kl, loss.ce, loss.alignment);
  if (!config_.loss.has_code_losses()) return loss;
  const std::vector<double> total_codes = engine_->sum(codes);
  const auto parts = static_cast<double>(config_.train.micro_batches);
  loss.codes = {total_codes[0] / parts, total_codes[1] / parts};
  loss.loss += config_.loss.code_balance * loss.codes.balance + config_.loss.code_consistency * loss.codes.consistency;
  return loss;
}

EvaluationMetrics Trainer::evaluate(int64_t num_steps_done) {
  const base::PhaseScope phase(base::Phase::evaluation);
  const std::string student = parts_.adapters ? "rosa" : "teacher";
  const VariantScore score = evaluate_variants(config_, parts_, {student}).at(student);
  EvaluationMetrics metrics;
  metrics.step = num_steps_done;
  metrics.num_tokens = static_cast<int64_t>(score.all.total.count);
  metrics.num_sequences = score.num_sequences;
  metrics.ce = score.ce();
  metrics.perplexity = std::exp(metrics.ce);
  return metrics;
}

}  // namespace rosa::training
