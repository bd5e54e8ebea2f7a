#include "training/suite/head_matches.h"

#include "base/error.h"

namespace rosa::training {
namespace {

// Row `head` of symbols [1,H,T].
std::vector<uint64_t> row_of(const at::Tensor& symbols, int64_t head) {
  const int64_t* first = symbols[0][head].const_data_ptr<int64_t>();
  return {first, first + symbols.size(2)};
}

}  // namespace

void HeadMatches::watch(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input) {
  base::require(normed.size(0) == 1, "HeadMatches: got ", normed.size(0), " rows, expected one");
  const models::AdapterSymbols symbols = adapters_.symbols(layer, normed, first_input);
  const at::Tensor query = symbols.query.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor key = symbols.key.to(at::kCPU, at::kLong).contiguous();
  const int64_t num_heads = query.size(1), group = num_heads / key.size(1);
  std::vector<SymbolMatches> matches(static_cast<size_t>(num_heads));
  executor_.parallel_for(num_heads, [&](int64_t head) {
    matches[static_cast<size_t>(head)] =
        match_symbols(row_of(query, head), row_of(key, head / group), document_starts_);
  });
  for (const SymbolMatches& of_head : matches) take_longer(best_, of_head);
}

}  // namespace rosa::training
