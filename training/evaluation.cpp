#include "training/evaluation.h"

#include <algorithm>

#include "base/error.h"
#include "training/losses.h"

namespace rosa::training {
namespace {

models::ForwardOptions variant_options(const RunConfig& config, const RunParts& parts, const std::string& variant) {
  if (variant == "teacher") return {};
  if (variant == "window") {
    models::ForwardOptions options;
    options.sliding_window = config.student.sliding_window;
    return options;
  }
  static const std::map<std::string, OperatorControl> controls = {{"rosa", OperatorControl::none},
                                                                  {"rosa_zeroed", OperatorControl::zeroed},
                                                                  {"rosa_shuffled", OperatorControl::shuffled},
                                                                  {"rosa_windowed", OperatorControl::windowed}};
  const auto control = controls.find(variant);
  base::require(control != controls.end(), "unknown variant '", variant, "' of an evaluation");
  base::require(parts.adapters != nullptr, "variant '", variant, "' needs adapters, and this run has none");
  models::ForwardOptions options = student_options(config, parts.adapters, parts.executor);
  options.operator_options.control = control->second;
  return options;
}

VariantScore score(const RunConfig& config, const RunParts& parts, const Batch& batch, const std::string& variant) {
  models::ForwardOptions options = variant_options(config, parts, variant);
  if (batch.documents.defined()) options.documents = batch.documents.to(parts.device);
  const at::Tensor hidden = parts.model.hidden_states(batch.input_ids.to(parts.device), options);
  const at::Tensor ce =
      token_cross_entropy(hidden, parts.model.lm_head_weight(), batch.labels.to(parts.device), config.loss.chunk_tokens)
          .cpu()
          .to(at::kDouble);
  at::Tensor counted = batch.labels.ne(-100);
  counted.select(1, 0).fill_(false);
  VariantScore result;
  result.ce_sum = ce.sum(1).sum().item<double>();
  result.num_tokens = counted.sum().to(at::kDouble).item<double>();
  if (batch.recallable.defined()) {
    const at::Tensor mask = batch.recallable.logical_and(counted);
    result.recallable_ce_sum = (ce * mask).sum(1).sum().item<double>();
    result.num_recallable = mask.sum().to(at::kDouble).item<double>();
  }
  return result;
}

}  // namespace

models::ForwardOptions student_options(const RunConfig& config, const models::AdapterSet* adapters,
                                       HostExecutor& executor) {
  models::ForwardOptions options;
  options.sliding_window = config.student.sliding_window;
  options.adapters = adapters;
  options.executor = &executor;
  options.operator_options.sliding_window = config.student.sliding_window;
  return options;
}

std::map<std::string, VariantScore> evaluate_variants(const RunConfig& config, const RunParts& parts,
                                                      const std::vector<std::string>& variants) {
  at::NoGradGuard no_grad;
  const int64_t sequences = config.train.micro_batch_sequences;
  const int64_t num_sequences = config.evaluation.num_sequences;
  const int64_t total = (num_sequences + sequences - 1) / sequences;
  const int64_t rank = parts.communicator.rank(), world_size = parts.communicator.world_size();
  const size_t width = 4 * variants.size();
  // Every batch has its own entries, filled by one rank: the sum over ranks is exact, and the order of batches fixed.
  std::vector<double> entries(static_cast<size_t>(total) * width, 0.0);
  for (int64_t i = total * rank / world_size; i < total * (rank + 1) / world_size; ++i) {
    const int64_t count = std::min(sequences, num_sequences - i * sequences);
    const Batch batch = parts.held_out_data.batch(/*step=*/0, i * sequences, count);
    for (size_t v = 0; v < variants.size(); ++v) {
      const VariantScore s = score(config, parts, batch, variants[v]);
      double* entry = entries.data() + static_cast<size_t>(i) * width + 4 * v;
      entry[0] = s.ce_sum;
      entry[1] = s.num_tokens;
      entry[2] = s.recallable_ce_sum;
      entry[3] = s.num_recallable;
    }
  }
  entries = parts.communicator.all_reduce_values(entries, parallel::Reduction::sum);
  std::map<std::string, VariantScore> scores;
  for (size_t i = 0; i < static_cast<size_t>(total); ++i) {
    for (size_t v = 0; v < variants.size(); ++v) {
      const double* entry = entries.data() + i * width + 4 * v;
      VariantScore& s = scores[variants[v]];
      s.ce_sum += entry[0];
      s.num_tokens += entry[1];
      s.recallable_ce_sum += entry[2];
      s.num_recallable += entry[3];
    }
  }
  return scores;
}

double gap_closed(double ce_window, double ce_student, double ce_teacher) {
  const double gap = ce_window - ce_teacher;
  return gap == 0.0 ? 0.0 : (ce_window - ce_student) / gap;
}

}  // namespace rosa::training
