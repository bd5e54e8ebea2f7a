#include "training/metric_fields.h"

#include "base/error.h"

namespace rosa::training {
namespace {

constexpr MetricField<StepMetrics> kStepFields[] = {
    {"loss", "nats a token", "what is minimised: distillation and cross-entropy by their weights", &StepMetrics::loss},
    {"kl", "nats a token", "Kullback-Leibler divergence from the teacher; 0 without its term", &StepMetrics::kl},
    {"ce", "nats a token", "cross-entropy of the data's tokens; 0 without its term", &StepMetrics::ce},
    {"gradient_norm", "", "global norm of the gradient before clipping", &StepMetrics::gradient_norm},
    {"learning_rate", "", "of this step; factors of single weights apply to it", &StepMetrics::learning_rate},
    {"alpha", "", "share of the hard operator in the forward: 0 all soft, 1 all hard", &StepMetrics::alpha},
    {"bits_tau", "", "temperature of the bits in the soft proxy", &StepMetrics::bits_tau},
    {"attn_tau", "", "temperature of the proxy's attention", &StepMetrics::attn_tau},
    {"num_skipped", "steps", "so far whose update was skipped, since a number was not finite or the loss spiked",
     &StepMetrics::num_skipped},
    {"num_spikes", "steps", "so far whose loss spiked", &StepMetrics::num_spikes},
    {"step_ms", "ms", "time of the step on rank 0", &StepMetrics::step_ms},
    {"tokens_per_second", "tokens/s", "of all ranks together", &StepMetrics::tokens_per_second},
    {"match_wait_ms", "ms", "in which the device (on the CPU: the compute thread) only waited for automata",
     &StepMetrics::match_wait_ms},
    {"match_wait_share", "", "the same as a share of step_ms", &StepMetrics::match_wait_share},
    {"communication_wait_ms", "ms", "spent in collectives, waiting for other ranks included",
     &StepMetrics::communication_wait_ms},
    {"gradient_communication_ms", "ms", "gradients were on their way between ranks",
     &StepMetrics::gradient_communication_ms},
    {"exposed_communication", "", "share of that time after the backward, for which the step had to wait",
     &StepMetrics::exposed_communication},
    {"memory_bytes", "bytes", "peak resident memory of rank 0's process", &StepMetrics::memory_bytes},
    {"optimizer_bytes", "bytes", "of the optimiser's state on rank 0", &StepMetrics::optimizer_bytes},
};

constexpr MetricField<SourceMetrics> kSourceFields[] = {
    {"num_sequences", "sequences", "of this step that came from the source", &SourceMetrics::num_sequences},
    {"epochs", "", "how often the source was gone through so far", &SourceMetrics::epochs},
    {"loss", "nats a token", "as the step's, over this source; left out where it gave no sequence",
     &SourceMetrics::loss},
    {"kl", "nats a token", "as the step's, over this source", &SourceMetrics::kl},
    {"ce", "nats a token", "as the step's, over this source", &SourceMetrics::ce},
};

constexpr MetricField<LayerMetrics> kLayerFields[] = {
    {"matched_share", "", "of the positions that have a match", &LayerMetrics::matched_share},
    {"mean_match_length", "symbols", "of the matches", &LayerMetrics::mean_match_length},
    {"max_match_length", "symbols", "the longest match", &LayerMetrics::max_match_length},
    {"query_entropy", "bits a symbol", "of the query symbols, all heads together; above 8 bits a symbol a lower bound",
     &LayerMetrics::query_entropy},
    {"key_entropy", "bits a symbol", "of the key symbols, in the same way", &LayerMetrics::key_entropy},
    {"dead_query_bits", "", "share of the heads' query bits that are never 1", &LayerMetrics::dead_query_bits},
    {"constant_query_bits", "", "share that never changes, the dead ones included", &LayerMetrics::constant_query_bits},
    {"dead_key_bits", "", "share of the heads' key bits that are never 1", &LayerMetrics::dead_key_bits},
    {"constant_key_bits", "", "share that never changes, the dead ones included", &LayerMetrics::constant_key_bits},
    {"agreement", "", "share of the positions whose query and key symbols are equal", &LayerMetrics::agreement},
};

constexpr MetricField<EvaluationMetrics> kEvaluationFields[] = {
    {"ce", "nats a token", "cross-entropy of the student with the hard operator on held-out tokens",
     &EvaluationMetrics::ce},
    {"perplexity", "", "e to the power of it", &EvaluationMetrics::perplexity},
    {"num_tokens", "tokens", "that the figures stand on", &EvaluationMetrics::num_tokens},
    {"num_sequences", "sequences", "that they come from", &EvaluationMetrics::num_sequences},
};

template <class Metrics>
std::string table(std::span<const MetricField<Metrics>> fields) {
  std::string text = "| name | unit | meaning |\n|---|---|---|\n";
  for (const auto& field : fields) {
    text += base::concat("| `", field.name, "` | ", field.unit, " | ", field.meaning, " |\n");
  }
  return text;
}

}  // namespace

std::span<const MetricField<StepMetrics>> step_fields() { return kStepFields; }
std::span<const MetricField<SourceMetrics>> source_fields() { return kSourceFields; }
std::span<const MetricField<LayerMetrics>> layer_fields() { return kLayerFields; }
std::span<const MetricField<EvaluationMetrics>> evaluation_fields() { return kEvaluationFields; }

std::string metrics_reference() {
  return base::concat(
      "# Metrics\n\n"
      "Written by `rosa config reference metrics`.\n\n"
      "`metrics.jsonl` in a run's folder has one JSON object a line. A number that is not finite is `null`.\n\n"
      "## A step\n\n"
      "`\"kind\": \"step\"`, every `logging.every` steps and at the last. `step` counts from 0. Each step stands there "
      "once, also after a resume.\n\n",
      table(step_fields()),
      "\n## A layer\n\n"
      "`layers` of a step: one entry for each layer with an adapter, over the whole global batch, equal for any number "
      "of ranks. `layer` is its number. `match_lengths` counts positions: first those without a match, then those with "
      "one of 1, of 2 to 3, of 4 to 7 symbols, and so on.\n\n",
      table(layer_fields()),
      "\n## A source\n\n`sources` of a step, where `data.sources` mixes several: one entry each, with its `name`.\n\n",
      table(source_fields()),
      "\n## An evaluation\n\n`\"kind\": \"evaluation\"`. `step` is the number of steps done before it. Where "
      "`evaluation.suite` ran, `suite` has its figures by name, as in `needle/exact`, means over lengths and depths, "
      "and "
      "`suite_rows` all of them ([evaluation.md](evaluation.md)).\n\n",
      table(evaluation_fields()));
}

}  // namespace rosa::training
