#include "rosa/operator/estimators/flip_estimator.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "rosa/operator/document_runs.h"
#include "rosa/operator/estimators/flip_scale.h"
#include "rosa/operator/symbols.h"

namespace rosa {
namespace {

// [B,H,T], contiguous on the CPU, symbols of at most 16 bits.
at::Tensor narrow_symbols(const at::Tensor& logits) { return pack_symbols(logits.to(at::kCPU)).to(at::kShort); }

// Of a whole call, on the CPU.
class FlipCredits {
 public:
  FlipCredits(const OperatorInput& input, const at::Tensor& grad_output, const FlipEstimator& estimator)
      : batch_(input.query.size(0)),
        groups_(input.key.size(1)),
        share_(input.query.size(1) / groups_),
        length_(input.query.size(2)),
        query_bits_(input.query.size(3)),
        value_bits_(input.value.size(3)),
        query_(narrow_symbols(input.query)),
        key_(narrow_symbols(input.key)),
        value_(narrow_symbols(input.value)),
        grad_(grad_output.to(at::kCPU, at::kFloat).contiguous()),
        documents_(input.documents.defined() ? input.documents.to(at::kCPU) : input.documents),
        query_effects_(at::empty({batch_, groups_ * share_, length_, query_bits_}, at::kDouble)),
        key_effects_(at::zeros({batch_, groups_, length_, query_bits_}, at::kDouble)) {
    at::parallel_for(0, batch_ * groups_, 1, [&](int64_t first, int64_t last) {
      const FlipEstimator::HeadEffects head_effects = estimator.make_head_effects();
      for (int64_t piece = first; piece < last; ++piece) find_group(piece / groups_, piece % groups_, head_effects);
    });
  }

  const at::Tensor& query_effects() const { return query_effects_; }
  const at::Tensor& key_effects() const { return key_effects_; }

 private:
  // Rows [begin, begin + count) of head `head` of `num_heads` of batch row `row`, `width` values a row.
  template <class Value>
  static std::span<Value> rows_of(Value* data, int64_t num_heads, int64_t length, int64_t row, int64_t head,
                                  int64_t begin, int64_t count, int64_t width) {
    return {data + ((row * num_heads + head) * length + begin) * width, static_cast<size_t>(count * width)};
  }

  void find_group(int64_t row, int64_t group, const FlipEstimator::HeadEffects& head_effects) {
    const auto symbols = [](const at::Tensor& tensor) {
      return reinterpret_cast<const uint16_t*>(tensor.const_data_ptr<int16_t>());
    };
    std::vector<int32_t> positions;
    std::vector<double> effects;
    for (const auto& [begin, end] : document_runs(documents_, row, length_)) {
      const int64_t count = end - begin;
      positions.resize(static_cast<size_t>(count));
      effects.resize(static_cast<size_t>(count * query_bits_));
      const auto key_part = [&, b = begin](auto* data, int64_t width) {
        return rows_of(data, groups_, length_, row, group, b, count, width);
      };
      const auto key_sums = key_part(key_effects_.mutable_data_ptr<double>(), query_bits_);
      for (int64_t head = group * share_; head < (group + 1) * share_; ++head) {
        const auto query_part = [&, b = begin](auto* data, int64_t width) {
          return rows_of(data, groups_ * share_, length_, row, head, b, count, width);
        };
        const kernels::SymbolFlips::Rewards rewards{key_part(symbols(value_), 1), value_bits_,
                                                    query_part(grad_.const_data_ptr<float>(), value_bits_)};
        head_effects(query_part(symbols(query_), 1), key_part(symbols(key_), 1), query_bits_, rewards, positions,
                     query_part(query_effects_.mutable_data_ptr<double>(), query_bits_), effects);
        for (size_t i = 0; i < effects.size(); ++i) key_sums[i] += effects[i];
      }
    }
  }

  int64_t batch_, groups_, share_, length_, query_bits_, value_bits_;
  at::Tensor query_, key_, value_, grad_, documents_;
  at::Tensor query_effects_, key_effects_;  // double [B,H,T,D], [B,G,T,D]
};

}  // namespace

void FlipEstimator::check_input(const OperatorInput& input) const {
  base::require(!input.mask.defined(), "estimator ", name(),
                ": got a mask, which its flips do not see; take documents, or another estimator");
  base::require(input.documents.defined() || input.query.size(2) <= max_length(), "estimator ", name(), ": got ",
                input.query.size(2), " positions, expected at most ", max_length(), " a document");
}

std::string FlipEstimator::own_refusal(int64_t query_bits, int64_t value_bits, const OperatorOptions&) const {
  if (std::max(query_bits, value_bits) <= kernels::kMaxFlipBits) return {};
  return base::concat("estimator ", name(), " takes symbols of at most ", kernels::kMaxFlipBits,
                      " bits, but there are ", query_bits, " query_key_bits and ", value_bits, " value_bits");
}

std::array<at::Tensor, 3> FlipEstimator::gradients(const GradientCall& call) const {
  const at::NoGradGuard no_grad;
  const OperatorInput& input = call.input;
  const auto finish = [&](const at::Tensor& logits, const at::Tensor& effects) {
    return gradient_of_flips(logits.to(at::kCPU, at::kDouble), effects, call.options).to(logits.options());
  };
  std::array<at::Tensor, 3> result;
  if (call.needed[0] || call.needed[1]) {
    const FlipCredits credits(input, call.grad_output, *this);
    if (call.needed[0]) result[0] = finish(input.query, credits.query_effects());
    if (call.needed[1]) result[1] = finish(input.key, credits.key_effects());
  }
  if (call.needed[2]) {
    const at::Tensor collected = collect_by_retrieved_row(input.value, call.positions, call.grad_output);
    result[2] = (collected * soft_bit_derivative(input.value.to(collected.scalar_type()), call.options))
                    .to(input.value.scalar_type());
  }
  return result;
}

}  // namespace rosa
