#include "training/experiment/counting_data.h"

#include <array>

#include "training/data/sample_keys.h"

namespace rosa::training {

at::Tensor counting_sequences(uint64_t seed, DataSplit split, int64_t step, int64_t first_sample, int64_t num_samples,
                              int64_t length) {
  constexpr std::array<int64_t, 4> kPowers = {1, 10, 100, 1000};
  at::Tensor tokens = at::empty({num_samples, length}, at::kLong);
  auto* row = tokens.mutable_data_ptr<int64_t>();
  for (int64_t sample = 0; sample < num_samples; ++sample, row += length) {
    base::RandomStream random(sample_key(seed, split, step, first_sample + sample));
    const auto num_digits = static_cast<size_t>(random.between(1, 3));
    int64_t number = random.between(num_digits == 1 ? 0 : kPowers[num_digits - 1], kPowers[num_digits] - 1);
    for (int64_t place = 0; place < length; ++number) {
      row[place++] = kCountingSeparator;
      for (const char digit : std::to_string(number)) {
        if (place < length) row[place++] = digit - '0';
      }
    }
  }
  return tokens;
}

std::string counting_text(const at::Tensor& tokens) {
  std::string text;
  const at::Tensor ids = tokens.to(at::kLong).contiguous();
  for (int64_t t = 0; t < ids.numel(); ++t) {
    const int64_t id = ids.const_data_ptr<int64_t>()[t];
    text += id < 0 ? '.' : id == kCountingSeparator ? ',' : static_cast<char>('0' + id);
  }
  return text;
}

}  // namespace rosa::training
