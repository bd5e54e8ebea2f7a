#include "training/metric_fields.h"

#include "base/error.h"

namespace rosa::training {
namespace {

namespace step_figure = base::step_figure;
namespace source_figure = base::source_figure;
namespace layer_figure = base::layer_figure;
namespace evaluation_figure = base::evaluation_figure;

constexpr MetricField<StepMetrics> kStepFields[] = {
    {step_figure::kLoss, &StepMetrics::loss},
    {step_figure::kKl, &StepMetrics::kl},
    {step_figure::kCe, &StepMetrics::ce},
    {step_figure::kAlignment, &StepMetrics::alignment},
    {step_figure::kCodeBalance, &StepMetrics::code_balance},
    {step_figure::kCodeConsistency, &StepMetrics::code_consistency},
    {step_figure::kGradientNorm, &StepMetrics::gradient_norm},
    {step_figure::kLearningRate, &StepMetrics::learning_rate},
    {step_figure::kAlpha, &StepMetrics::alpha},
    {step_figure::kBitsTau, &StepMetrics::bits_tau},
    {step_figure::kAttnTau, &StepMetrics::attn_tau},
    {step_figure::kNumSkipped, &StepMetrics::num_skipped},
    {step_figure::kNumSpikes, &StepMetrics::num_spikes},
    {step_figure::kStepMs, &StepMetrics::step_ms},
    {step_figure::kTokensPerSecond, &StepMetrics::tokens_per_second},
    {step_figure::kModelTflops, &StepMetrics::model_tflops},
    {step_figure::kTflopsPerSecond, &StepMetrics::tflops_per_second},
    {step_figure::kFlopUse, &StepMetrics::flop_use},
    {step_figure::kMatchWaitMs, &StepMetrics::match_wait_ms},
    {step_figure::kMatchWaitShare, &StepMetrics::match_wait_share},
    {step_figure::kCommunicationWaitMs, &StepMetrics::communication_wait_ms},
    {step_figure::kGradientCommunicationMs, &StepMetrics::gradient_communication_ms},
    {step_figure::kExposedCommunication, &StepMetrics::exposed_communication},
    {step_figure::kMemoryBytes, &StepMetrics::memory_bytes},
    {step_figure::kProportionalBytes, &StepMetrics::proportional_bytes},
    {step_figure::kOptimizerBytes, &StepMetrics::optimizer_bytes},
    {step_figure::kBasePartBytes, &StepMetrics::base_part_bytes},
    {step_figure::kBaseGatherBytes, &StepMetrics::base_gather_bytes},
    {step_figure::kBaseGatherWaitMs, &StepMetrics::base_gather_wait_ms},
    {step_figure::kDeviceAllocatedBytes, &StepMetrics::device_allocated_bytes},
    {step_figure::kDeviceReservedBytes, &StepMetrics::device_reserved_bytes},
    {step_figure::kDevicePeakBytes, &StepMetrics::device_peak_bytes},
};

constexpr MetricField<SourceMetrics> kSourceFields[] = {
    {source_figure::kNumSequences, &SourceMetrics::num_sequences},
    {source_figure::kEpochs, &SourceMetrics::epochs},
    {source_figure::kLoss, &SourceMetrics::loss},
    {source_figure::kKl, &SourceMetrics::kl},
    {source_figure::kCe, &SourceMetrics::ce},
};

constexpr MetricField<LayerMetrics> kLayerFields[] = {
    {layer_figure::kMatchedShare, &LayerMetrics::matched_share},
    {layer_figure::kMeanMatchLength, &LayerMetrics::mean_match_length},
    {layer_figure::kMaxMatchLength, &LayerMetrics::max_match_length},
    {layer_figure::kQueryEntropy, &LayerMetrics::query_entropy},
    {layer_figure::kKeyEntropy, &LayerMetrics::key_entropy},
    {layer_figure::kDeadQueryBits, &LayerMetrics::dead_query_bits},
    {layer_figure::kConstantQueryBits, &LayerMetrics::constant_query_bits},
    {layer_figure::kDeadKeyBits, &LayerMetrics::dead_key_bits},
    {layer_figure::kConstantKeyBits, &LayerMetrics::constant_key_bits},
    {layer_figure::kAgreement, &LayerMetrics::agreement},
    {layer_figure::kGateMean, &LayerMetrics::gate_mean},
    {layer_figure::kClosedGates, &LayerMetrics::closed_gates},
};

constexpr MetricField<EvaluationMetrics> kEvaluationFields[] = {
    {evaluation_figure::kCe, &EvaluationMetrics::ce},
    {evaluation_figure::kPerplexity, &EvaluationMetrics::perplexity},
    {evaluation_figure::kNumTokens, &EvaluationMetrics::num_tokens},
    {evaluation_figure::kNumSequences, &EvaluationMetrics::num_sequences},
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
      "once, also after a resume. Where `kl` is another divergence than KL(teacher || student) over the whole "
      "vocabulary, "
      "`divergence` says which: `loss.divergence` with its settings, as in `reverse_kl(top_k=32)`. In a run with "
      "stages `stage` names\nthe one that the step is in.\n\n",
      table(step_fields()),
      "\n## A layer\n\n"
      "`layers` of a step: one entry for each layer with an adapter, over the whole global batch, equal for any number "
      "of ranks. `layer` is its number. `match_lengths` counts positions: first those without a match, then those with "
      "one of 1, of 2 to 3, of 4 to 7 symbols, and so on.\n\n",
      table(layer_fields()),
      "\n## A source\n\n`sources` of a step, where `data.sources` mixes several: one entry each, with its `name`.\n\n",
      table(source_fields()),
      "\n## An evaluation\n\n`\"kind\": \"evaluation\"`. `step` is the number of steps done before it, `stage` as "
      "above. Where "
      "`evaluation.suite` ran, `suite` has its figures by name, as in `needle/exact`, means over lengths and depths, "
      "and "
      "`suite_rows` all of them ([evaluation.md](evaluation.md)).\n\n",
      table(evaluation_fields()),
      "\n## Samples\n\n`\"kind\": \"samples\"`, after the line of an evaluation, where `evaluation.samples` asks for "
      "them. `samples` is a list of texts: `prompt`, the beginning of a held-out text; `continuation`, what the "
      "student "
      "with the hard operator writes after it, the likeliest token each time; `reference`, what follows in the text. "
      "Where the model has no tokenizer, they are token ids with blanks between them.\n");
}

}  // namespace rosa::training
