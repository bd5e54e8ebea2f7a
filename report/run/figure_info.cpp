#include "report/run/figure_info.h"

#include "report/numbers.h"

namespace rosa::report {
namespace {

constexpr double kMebibyte = 1 << 20;

}  // namespace

const std::vector<FigureSection>& step_sections() {
  using Format = FigureFormat;
  using Best = BestValue;
  static const std::vector<FigureSection> kSections = {
      {"Loss",
       "Over the whole batch of a step.",
       {{"loss", "Loss", "nats a token", Format::number, Best::lowest, true},
        {"kl", "KL divergence to the teacher", "nats a token", Format::number, Best::lowest, true},
        {"ce", "Cross-entropy in training", "nats a token", Format::number, Best::lowest, true}},
       true},
      {"Gradient",
       "The norm before clipping. A skipped step has not changed the weights.",
       {{"gradient_norm", "Gradient norm", "norm; logarithmic", Format::number, Best::none, true, true},
        {"num_skipped", "Skipped steps so far", "steps", Format::count},
        {"num_spikes", "Spikes of the loss so far", "steps", Format::count}},
       true},
      {"Schedules",
       "",
       {{"learning_rate", "Learning rate", "rate"},
        {"alpha", "Alpha", "alpha"},
        {"bits_tau", "Temperature of the bits", "temperature"},
        {"attn_tau", "Temperature of the attention", "temperature"}}},
      {"Speed",
       "Times are those of rank 0.",
       {{"tokens_per_second", "Tokens per second", "tokens/s", Format::number, Best::highest, true},
        {"step_ms", "Time of a step", "ms", Format::number, Best::lowest, true},
        {"match_wait_ms", "Waiting for automata", "ms", Format::number, Best::lowest, true},
        {"match_wait_share", "Waiting for automata, of the step", "share", Format::share, Best::lowest, true},
        {"communication_wait_ms", "Waiting in collectives", "ms", Format::number, Best::lowest, true},
        {"gradient_communication_ms", "Gradients on their way", "ms", Format::number, Best::lowest, true},
        {"exposed_communication", "Gradients on their way after the backward", "share", Format::share, Best::lowest,
         true}}},
      {"Memory",
       "",
       {{"memory_bytes", "Peak memory of the process", "MiB", Format::mebibytes},
        {"optimizer_bytes", "State of the optimiser", "MiB", Format::mebibytes}}},
  };
  return kSections;
}

const std::vector<FigureInfo>& evaluation_figures() {
  static const std::vector<FigureInfo> kFigures = {
      {"ce", "Cross-entropy, held out", "nats a token", FigureFormat::number, BestValue::lowest},
      {"perplexity", "Perplexity, held out", "perplexity; logarithmic", FigureFormat::number, BestValue::lowest, false,
       true},
      {"num_tokens", "Tokens of an evaluation", "tokens", FigureFormat::count},
      {"num_sequences", "Sequences of an evaluation", "sequences", FigureFormat::count}};
  return kFigures;
}

const std::vector<FigureInfo>& layer_figures() {
  static const std::vector<FigureInfo> kFigures = {
      {"matched_share", "Matched share", "of the positions", FigureFormat::share},
      {"mean_match_length", "Mean match length", "symbols"},
      {"query_entropy", "Entropy of the queries", "bits a symbol"},
      {"key_entropy", "Entropy of the keys", "bits a symbol"},
      {"agreement", "Agreement of queries and keys", "of the positions", FigureFormat::share},
      {"dead_query_bits", "Dead query bits", "of the bits", FigureFormat::share},
      {"constant_query_bits", "Constant query bits", "of the bits", FigureFormat::share},
      {"dead_key_bits", "Dead key bits", "of the bits", FigureFormat::share},
      {"constant_key_bits", "Constant key bits", "of the bits", FigureFormat::share}};
  return kFigures;
}

std::string value_text(const FigureInfo& info, double value) {
  switch (info.format) {
    case FigureFormat::share:
      return percent(value);
    case FigureFormat::count:
      return fixed(value, 0);
    case FigureFormat::mebibytes:
    case FigureFormat::number:
      break;
  }
  return significant(axis_value(info, value), 4);
}

double axis_value(const FigureInfo& info, double value) {
  return info.format == FigureFormat::mebibytes ? value / kMebibyte : value;
}

}  // namespace rosa::report
