// The operator alone: symbols as rows of bits. At each position it finds the longest earlier copy of the recent symbols
// and hands on the value that followed; in training an estimator makes a gradient of it.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdio>
#include <string>

#include "rosa/operator/rosa_operator.h"

namespace {

constexpr int64_t kBits = 8;  // of a letter; the estimator compares 128 / kBits of them

// [1,1,T,bits]: +1 for a bit that is set, -1 for one that is not.
at::Tensor logits_of(const std::string& text) {
  at::Tensor logits = at::empty({1, 1, static_cast<int64_t>(text.size()), kBits});
  for (std::size_t t = 0; t < text.size(); ++t) {
    for (int64_t bit = 0; bit < kBits; ++bit) {
      logits[0][0][static_cast<int64_t>(t)][bit] = ((text[t] - 'a') >> bit & 1) != 0 ? 1.0 : -1.0;
    }
  }
  return logits;
}

// '.' where nothing matched.
std::string text_of(const rosa::OperatorOutput& output, int64_t length) {
  std::string text;
  for (int64_t t = 0; t < length; ++t) {
    int letter = 0;
    for (int64_t bit = 0; bit < kBits; ++bit) letter |= output.bits[0][0][t][bit].item<float>() > 0.5f ? 1 << bit : 0;
    text += output.matched[0][0][t].item<bool>() ? static_cast<char>('a' + letter) : '.';
  }
  return text;
}

}  // namespace

int main() {
  const std::string text = "thecatsawthecat";
  const at::Tensor logits = logits_of(text);
  rosa::HostExecutor executor(/*num_threads=*/1);
  const rosa::OperatorOutput output = rosa::rosa_operator({logits, logits, logits, {}, {}}, {}, executor);
  const std::string retrieved = text_of(output, logits.size(2));
  std::printf("read      %s\nretrieved %s\n", text.c_str(), retrieved.c_str());

  // What the query's bits would have to be, says the default estimator.
  const at::Tensor query = logits.clone().requires_grad_();
  rosa::OperatorOptions options;
  options.training = true;
  const at::Tensor wanted = logits.roll(-1, 2).gt(0).to(at::kFloat);  // the letter that comes next
  const at::Tensor loss =
      (rosa::rosa_operator({query, logits, logits, {}, {}}, options, executor).bits - wanted).square().sum();
  const at::Tensor gradient = torch::autograd::grad({loss}, {query}).front();
  std::printf("loss %.1f, norm of the gradient by the query %.4f\n", loss.item<double>(),
              gradient.norm().item<double>());

  // The second "thecat" knows how the first went on.
  return retrieved.substr(10, 4) == "ecat" && gradient.norm().item<double>() > 0 ? 0 : 1;
}
