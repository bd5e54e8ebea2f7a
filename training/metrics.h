// What a run tells while it goes: the numbers of a step and of an evaluation, the observer that is told, and the
// metrics.jsonl writer. Draws nothing itself (launch/progress does).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "training/json_lines.h"
#include "training/layer_metrics.h"
#include "training/step_guard.h"

namespace rosa::training {

// What a step saw of one source of a mixture.
struct SourceMetrics {
  std::string name;
  double loss = 0.0, kl = 0.0, ce = 0.0;  // over the sequences of this source; 0 where there were none
  int64_t num_sequences = 0;              // of this step
  double epochs = 0.0;                    // how often the source was gone through so far
};

// One training step, over the whole global batch; equal on every rank but for the timings.
struct StepMetrics {
  int64_t step = 0;  // from 0
  int64_t num_steps = 0;
  std::string stage = {};                 // its name, in a run of several
  double loss = 0.0, kl = 0.0, ce = 0.0;  // kl, ce: means over their tokens; 0 where the term has no weight
  std::string divergence = {};            // what kl is where it is not forward KL over the vocabulary: divergence_text
  std::optional<double> alignment = {};   // the alignment loss, where it has a weight
  double gradient_norm = 0.0;             // before clipping
  double learning_rate = 0.0, alpha = 0.0, bits_tau = 0.0, attn_tau = 0.0;
  StepDecision decision = StepDecision::update;  // what was done with the gradient
  int64_t num_skipped = 0, num_spikes = 0;       // steps so far whose update was skipped, whose loss spiked
  double step_ms = 0.0;
  double tokens_per_second = 0.0;
  // What the model's matrix products cost (training/plan/flops.h): of the step, over all ranks; a second; and as a
  // share of logging.peak_tflops on every rank, where that is stated.
  double model_tflops = 0.0, tflops_per_second = 0.0;
  std::optional<double> flop_use = {};
  double match_wait_ms = 0.0;     // the device (on the CPU: the compute thread) had nothing to do but wait for automata
  double match_wait_share = 0.0;  // of step_ms
  double communication_wait_ms = 0.0;  // spent in collectives
  // Gradients on their way between ranks, and the share of it after the backward, for which the step had to wait.
  double gradient_communication_ms = 0.0;
  double exposed_communication = 0.0;
  int64_t memory_bytes = 0;                        // peak resident memory of this process
  std::optional<int64_t> proportional_bytes = {};  // at the steps that metrics.jsonl shows (base/process_memory.h)
  int64_t optimizer_bytes = 0;                     // of the optimiser's state on this rank
  // Of LibTorch's allocator on this rank's GPU: in tensors now, taken from the device, and the most in tensors so far.
  std::optional<int64_t> device_allocated_bytes = {}, device_reserved_bytes = {}, device_peak_bytes = {};
  std::vector<LayerMetrics> layers = {};    // at the steps that metrics.jsonl shows; of the layers with adapters
  std::vector<SourceMetrics> sources = {};  // at the same steps; of a mixture of several
  // The losses on codes, means over layers, where they have a weight.
  std::optional<double> code_balance = {}, code_consistency = {};
  // Of frozen weights that the ranks share out (training/shared_layers.h), where they do.
  std::optional<int64_t> base_part_bytes = {}, base_gather_bytes = {};
  std::optional<double> base_gather_wait_ms = {};
};

// Whether step `step` is one that metrics.jsonl shows: every `every` and the last.
bool is_logged_step(int64_t step, int64_t num_steps, int64_t every);

// A held-out text whose beginning the student continued greedily. Texts; or, of a model without a tokenizer, token ids
// with blanks between them.
struct TextSample {
  std::string prompt, continuation;
  std::string reference;  // what follows the prompt in the held-out text
};

// Cross-entropy in nats over held-out tokens, student with the hard operator.
struct EvaluationMetrics {
  int64_t step = 0;  // number of steps done before it
  double ce = 0.0;
  double perplexity = 0.0;
  int64_t num_tokens = 0, num_sequences = 0;  // what the figures stand on
  // Of evaluation.suite, where it ran: "needle/exact" and so on, means over lengths and depths; and all rows, as JSON.
  std::map<std::string, double> suite = {};
  std::string suite_rows = {};
  std::vector<TextSample> samples = {};  // of evaluation.samples
  std::string stage = {};                // its name, in a run of several
};

// Of a figure of a suite, by its name: shares of what is right. As a loss it counts with its sign turned.
bool more_is_better(const std::string& figure);

class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  // `first_step` is above 0 in a resumed run.
  virtual void on_start(int64_t first_step, int64_t num_steps) = 0;
  virtual void on_step(const StepMetrics& metrics) = 0;  // every step; an observer decides what it shows
  virtual void on_evaluation(const EvaluationMetrics& metrics) = 0;
  virtual void on_checkpoint(int64_t step, const std::filesystem::path& folder) = 0;
  virtual void on_notice(const std::string& text) = 0;
  virtual void on_end() = 0;
};

// Tells several observers.
class ObserverList : public TrainingObserver {
 public:
  void add(TrainingObserver& observer) { observers_.push_back(&observer); }
  void on_start(int64_t first_step, int64_t num_steps) override;
  void on_step(const StepMetrics& metrics) override;
  void on_evaluation(const EvaluationMetrics& metrics) override;
  void on_checkpoint(int64_t step, const std::filesystem::path& folder) override;
  void on_notice(const std::string& text) override;
  void on_end() override;

 private:
  std::vector<TrainingObserver*> observers_;
};

// The lines of metrics.jsonl, without their ends: {"kind":"step",...}; {"kind":"evaluation",...} and, where it has
// samples, {"kind":"samples",...}.
std::string metrics_line(const StepMetrics& metrics);
std::vector<std::string> metrics_lines(const EvaluationMetrics& metrics);

// Appends these lines to metrics.jsonl, those of steps every `every` steps and at the last.
class MetricsFile : public TrainingObserver, public JsonLinesFile {
 public:
  MetricsFile(std::filesystem::path path, int64_t every) : JsonLinesFile(std::move(path)), every_(every) {}
  void on_start(int64_t first_step, int64_t num_steps) override;
  void on_step(const StepMetrics& metrics) override;
  void on_evaluation(const EvaluationMetrics& metrics) override;
  void on_checkpoint(int64_t step, const std::filesystem::path& folder) override;
  void on_notice(const std::string& text) override;
  void on_end() override;

 private:
  int64_t every_;
};

}  // namespace rosa::training
