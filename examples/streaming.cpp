// The operator in a stream: rows come one at a time, the state is saved in the middle and taken up again. The rows are
// those of the whole sequence, bit for bit.
#include <ATen/ATen.h>

#include <cstddef>
#include <cstdio>
#include <vector>

#include "rosa/operator/rosa_operator.h"
#include "rosa/operator/rosa_state.h"

int main() {
  constexpr int64_t kBatch = 2, kHeads = 4, kLength = 200, kBits = 3;
  at::manual_seed(1);
  const at::Tensor query = at::randn({kBatch, kHeads, kLength, kBits}),
                   key = at::randn({kBatch, kHeads, kLength, kBits});
  const at::Tensor value = at::randn({kBatch, kHeads, kLength, kBits});
  rosa::HostExecutor executor(/*num_threads=*/2);
  const at::Tensor whole = rosa::rosa_operator({query, key, value, {}, {}}, {}, executor).bits;

  rosa::RosaState state(kBatch, kHeads, kHeads, kBits, kBits);
  std::vector<at::Tensor> rows;
  for (int64_t t = 0; t < kLength; ++t) {
    if (t == kLength / 2) {
      const std::vector<std::byte> saved = state.save();
      state = rosa::RosaState::load(saved);
      std::printf("%zu bytes of state after %lld positions\n", saved.size(), static_cast<long long>(t));
    }
    const auto row = [t](const at::Tensor& logits) { return logits.narrow(2, t, 1); };
    rows.push_back(state.append(row(query), row(key), row(value), executor).bits);
  }
  const bool is_equal = at::cat(rows, 2).equal(whole);
  std::printf("the stream gives %s\n", is_equal ? "the same bits" : "OTHER BITS");
  return is_equal ? 0 : 1;
}
