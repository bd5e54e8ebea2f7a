#include "models/generate.h"

#include <algorithm>

#include "base/error.h"

namespace rosa::models {

at::Tensor generate(const CausalModel& model, const at::Tensor& prompt, const ForwardOptions& options,
                    const GenerateOptions& generate_options, Speculation speculation) {
  base::require(prompt.dim() == 2 && prompt.size(1) > 0 && prompt.scalar_type() == at::kLong, "prompt has shape ",
                prompt.sizes(), "; expected int64 [batch, length], not empty");
  const at::Tensor ids = prompt.to(at::kCPU).contiguous();
  const int64_t batch = ids.size(0), length = ids.size(1);
  std::vector<std::vector<int64_t>> texts;
  for (int64_t row = 0; row < batch; ++row) {
    const int64_t* first = ids.const_data_ptr<int64_t>() + row * length;
    texts.emplace_back(first, first + length);
  }
  Generator generator(model, options, batch);
  continue_texts(generator, texts, std::vector<GenerateOptions>(batch, generate_options), speculation);
  size_t longest = 0;
  for (const std::vector<int64_t>& text : texts) longest = std::max(longest, text.size());
  at::Tensor result = at::empty({batch, static_cast<int64_t>(longest)}, at::kLong);
  int64_t* next = result.mutable_data_ptr<int64_t>();
  for (std::vector<int64_t>& text : texts) {
    text.resize(longest, text.back());
    next = std::copy(text.begin(), text.end(), next);
  }
  return result.to(prompt.device());
}

}  // namespace rosa::models
