// What the figures of a run are called: those of metrics.jsonl, each described once. training/metric_fields.h says
// where their numbers come from, report/run/figure_info.h how a page draws them; neither knows the other.
#pragma once

#include <string_view>

namespace rosa::base {

struct RunFigure {
  std::string_view name;     // in every file
  std::string_view title;    // on pages
  std::string_view unit;     // empty: a plain number
  std::string_view meaning;  // one line
};

namespace step_figure {

inline constexpr RunFigure kLoss = {"loss", "Loss", "nats a token",
                                    "what is minimised: distillation, cross-entropy and other terms by their weights"};
inline constexpr RunFigure kKl = {"kl", "Divergence from the teacher", "nats a token",
                                  "divergence from the teacher (loss.divergence, by default KL); 0 without its term"};
inline constexpr RunFigure kCe = {"ce", "Cross-entropy in training", "nats a token",
                                  "cross-entropy of the data's tokens; 0 without its term"};
inline constexpr RunFigure kAlignment = {"alignment", "Alignment of layers", "",
                                         "distance of the student's layers from the teacher's (loss.alignment); left "
                                         "out without its term"};
inline constexpr RunFigure kCodeBalance = {"code_balance", "Imbalance of bits", "",
                                           "squared mean of the soft bits of queries, keys and values "
                                           "(loss.code_balance); left out without its term"};
inline constexpr RunFigure kCodeConsistency = {"code_consistency", "Distance of queries and keys", "",
                                               "of the soft bits of a position's query and key from one code "
                                               "(loss.code_consistency); left out without its term"};
inline constexpr RunFigure kGradientNorm = {"gradient_norm", "Gradient norm", "",
                                            "global norm of the gradient before clipping"};
inline constexpr RunFigure kLearningRate = {"learning_rate", "Learning rate", "",
                                            "of this step; factors of single weights apply to it"};
inline constexpr RunFigure kAlpha = {"alpha", "Alpha", "",
                                     "share of the hard operator in the forward: 0 all soft, 1 all hard"};
inline constexpr RunFigure kBitsTau = {"bits_tau", "Temperature of the bits", "",
                                       "temperature of the bits in the soft proxy"};
inline constexpr RunFigure kAttnTau = {"attn_tau", "Temperature of the attention", "",
                                       "temperature of the proxy's attention"};
inline constexpr RunFigure kNumSkipped = {
    "num_skipped", "Skipped steps so far", "steps",
    "so far whose update was skipped, since a number was not finite or the loss spiked"};
inline constexpr RunFigure kNumSpikes = {"num_spikes", "Spikes of the loss so far", "steps",
                                         "so far whose loss spiked"};
inline constexpr RunFigure kStepMs = {"step_ms", "Time of a step", "ms", "time of the step on rank 0"};
inline constexpr RunFigure kTokensPerSecond = {"tokens_per_second", "Tokens per second", "tokens/s",
                                               "of all ranks together"};
inline constexpr RunFigure kModelTflops = {
    "model_tflops", "FLOPs of a step", "TFLOP",
    "of all ranks, in matrix products: teacher, student and its backward, recomputation not counted"};
inline constexpr RunFigure kTflopsPerSecond = {"tflops_per_second", "FLOPs per second", "TFLOP/s",
                                               "the same divided by the time of the step"};
inline constexpr RunFigure kFlopUse = {
    "flop_use", "Model FLOP use", "share",
    "of logging.peak_tflops on every rank that tflops_per_second is; left out where no peak is stated"};
inline constexpr RunFigure kMatchWaitMs = {
    "match_wait_ms", "Waiting for automata", "ms",
    "in which the device (on the CPU: the compute thread) only waited for automata"};
inline constexpr RunFigure kMatchWaitShare = {"match_wait_share", "Waiting for automata, of the step", "share",
                                              "the same as a share of step_ms"};
inline constexpr RunFigure kCommunicationWaitMs = {"communication_wait_ms", "Waiting in collectives", "ms",
                                                   "spent in collectives, waiting for other ranks included"};
inline constexpr RunFigure kGradientCommunicationMs = {"gradient_communication_ms", "Gradients on their way", "ms",
                                                       "gradients were on their way between ranks; on a GPU by "
                                                       "events at both ends of each bucket"};
inline constexpr RunFigure kExposedCommunication = {"exposed_communication",
                                                    "Gradients on their way after the backward", "share",
                                                    "of that time after the backward, for which the step had to wait"};
inline constexpr RunFigure kMemoryBytes = {"memory_bytes", "Peak memory of the process", "bytes",
                                           "peak resident memory of rank 0's process"};
inline constexpr RunFigure kProportionalBytes = {
    "proportional_bytes", "Memory of the process, its share", "bytes",
    "of rank 0's process after the step: a page that n processes share counts 1/n (PSS), as mapped weights are by the "
    "ranks of a host; left out where the system does not tell"};
inline constexpr RunFigure kOptimizerBytes = {"optimizer_bytes", "State of the optimiser", "bytes",
                                              "of the optimiser's state on rank 0"};
inline constexpr RunFigure kBasePartBytes = {
    "base_part_bytes", "Part of the shared-out base weights", "bytes",
    "of base model and teacher that rank 0 keeps, with the layers that it holds whole for a while; left out where "
    "parallel.shard_base shares out none"};
inline constexpr RunFigure kBaseGatherBytes = {"base_gather_bytes", "Base weights received", "bytes",
                                               "of base weights that rank 0 got from other ranks in the step"};
inline constexpr RunFigure kBaseGatherWaitMs = {"base_gather_wait_ms", "Waiting for base weights", "ms",
                                                "in which the step waited for a layer's base weights"};
inline constexpr RunFigure kDeviceAllocatedBytes = {"device_allocated_bytes", "Device memory in tensors", "bytes",
                                                    "on rank 0's GPU after the step; left out without a GPU"};
inline constexpr RunFigure kDeviceReservedBytes = {
    "device_reserved_bytes", "Device memory reserved", "bytes",
    "of it that LibTorch's allocator has taken from the device; left out without a GPU"};
inline constexpr RunFigure kDevicePeakBytes = {"device_peak_bytes", "Device memory in tensors at most", "bytes",
                                               "so far on rank 0's GPU; left out without a GPU"};

}  // namespace step_figure

namespace source_figure {

inline constexpr RunFigure kNumSequences = {"num_sequences", "Sequences a step", "sequences",
                                            "of this step that came from the source"};
inline constexpr RunFigure kEpochs = {"epochs", "Epochs", "", "how often the source was gone through so far"};
inline constexpr RunFigure kLoss = {"loss", "Loss of each source", "nats a token",
                                    "as the step's, over this source; left out where it gave no sequence"};
inline constexpr RunFigure kKl = {"kl", "Divergence from the teacher", "nats a token",
                                  "as the step's, over this source"};
inline constexpr RunFigure kCe = {"ce", "Cross-entropy", "nats a token", "as the step's, over this source"};

}  // namespace source_figure

namespace layer_figure {

inline constexpr RunFigure kMatchedShare = {"matched_share", "Matched positions", "share of the positions",
                                            "of the positions that have a match"};
inline constexpr RunFigure kMeanMatchLength = {"mean_match_length", "Mean match length", "symbols", "of the matches"};
inline constexpr RunFigure kMaxMatchLength = {"max_match_length", "Longest match", "symbols", "the longest match"};
inline constexpr RunFigure kQueryEntropy = {
    "query_entropy", "Entropy of the queries", "bits a symbol",
    "of the query symbols, all heads together; above 8 bits a symbol a lower bound"};
inline constexpr RunFigure kKeyEntropy = {"key_entropy", "Entropy of the keys", "bits a symbol",
                                          "of the key symbols, in the same way"};
inline constexpr RunFigure kDeadQueryBits = {"dead_query_bits", "Dead query bits", "share of the bits",
                                             "of the heads' query bits that are never 1"};
inline constexpr RunFigure kConstantQueryBits = {"constant_query_bits", "Constant query bits", "share of the bits",
                                                 "that never change, the dead ones included"};
inline constexpr RunFigure kDeadKeyBits = {"dead_key_bits", "Dead key bits", "share of the bits",
                                           "of the heads' key bits that are never 1"};
inline constexpr RunFigure kConstantKeyBits = {"constant_key_bits", "Constant key bits", "share of the bits",
                                               "that never change, the dead ones included"};
inline constexpr RunFigure kAgreement = {"agreement", "Agreement of queries and keys", "share of the positions",
                                         "of the positions whose query and key symbols are equal"};
inline constexpr RunFigure kGateMean = {
    "gate_mean", "Mean gate", "",
    "of what the gates multiply retrieved values by, over heads and positions: 0 to 2; 1 without gates"};
inline constexpr RunFigure kClosedGates = {"closed_gates", "Closed gates", "share of the gates",
                                           "of the gates that are below 0.1"};

}  // namespace layer_figure

namespace evaluation_figure {

inline constexpr RunFigure kCe = {"ce", "Cross-entropy, held out", "nats a token",
                                  "cross-entropy of the student with the hard operator on held-out tokens"};
inline constexpr RunFigure kPerplexity = {"perplexity", "Perplexity, held out", "", "e to the power of it"};
inline constexpr RunFigure kNumTokens = {"num_tokens", "Tokens of an evaluation", "tokens",
                                         "that the figures stand on"};
inline constexpr RunFigure kNumSequences = {"num_sequences", "Sequences of an evaluation", "sequences",
                                            "that they come from"};

}  // namespace evaluation_figure

}  // namespace rosa::base
