#include "training/suite/text_forward.h"

#include <algorithm>

#include "base/activity.h"
#include "models/generator.h"

namespace rosa::training {
namespace {

constexpr int64_t kPiece = 2048;  // tokens whose hidden states exist at one time in a stream

at::Tensor row_of(std::span<const int64_t> ids) {
  at::Tensor row = at::empty({1, static_cast<int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), row.mutable_data_ptr<int64_t>());
  return row;
}

}  // namespace

int64_t forward_text(const SuiteContext& context, const std::string& variant, std::span<const int64_t> ids,
                     const std::function<void(int64_t first, const at::Tensor& hidden)>& use) {
  const at::NoGradGuard no_gradient;
  const RunParts& parts = context.parts;
  const models::CausalModel& model = parts.model_of(variant);
  models::ForwardOptions options = variant_options(context.config, parts, variant);
  const auto length = static_cast<int64_t>(ids.size());
  const bool is_long = length > context.suite.whole_max;
  // A stream knows no controls.
  if (!is_long || options.operator_options.control != OperatorControl::none) {
    options.sequence_chunk = is_long ? kPiece : 0;
    use(0, model.hidden_states(row_of(ids).to(parts.device), options)[0]);
    base::note_progress();
    return 0;
  }
  models::Generator stream(model, options, /*batch=*/1, /*max_rewind=*/0);
  for (int64_t first = 0; first < length; first += kPiece) {
    const auto piece = ids.subspan(static_cast<size_t>(first), static_cast<size_t>(std::min(kPiece, length - first)));
    use(first, stream.append(row_of(piece))[0]);
    base::note_progress();
    if (context.on_piece) context.on_piece(variant, first + std::ssize(piece), length);
  }
  return static_cast<int64_t>(stream.num_bytes());
}

}  // namespace rosa::training
