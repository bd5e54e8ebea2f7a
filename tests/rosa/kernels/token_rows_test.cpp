// The arithmetic of single tokens, in every form that this processor has, against its definition; and the bits of a
// row, which nothing beside it changes.
#include "rosa/kernels/token_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"

namespace rosa::kernels {
namespace {

std::vector<float> random_numbers(int64_t count, uint64_t seed) {
  base::RandomStream stream({.seed = seed});
  std::vector<float> numbers(count);
  for (float& each : numbers) each = static_cast<float>(stream.normal());
  return numbers;
}

// The upper halves, as bfloat16 has them; the numbers become what these stand for.
std::vector<uint16_t> as_bfloat16(std::vector<float>& numbers) {
  std::vector<uint16_t> halves;
  for (float& each : numbers) {
    uint32_t bits = 0;
    std::memcpy(&bits, &each, sizeof(bits));
    halves.push_back(static_cast<uint16_t>(bits >> 16));
    bits &= 0xFFFF0000;
    std::memcpy(&each, &bits, sizeof(bits));
  }
  return halves;
}

class TokenRows : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (GetParam() >= token_row_variants().count) GTEST_SKIP() << "this processor has no such form";
  }
  static TokenRowFunctions functions() { return token_row_variants().variants[GetParam()]; }
};

TEST_P(TokenRows, ProductsAreThoseOfTheDefinitionAndOfARowAlone) {
  for (const int64_t columns : {1, 7, 16, 33, 100}) {
    for (const int64_t inputs : {1, 2, 3, 4, 5, 9, 16}) {
      constexpr int64_t kRows = 29;
      const std::vector<float> input = random_numbers(inputs * columns, 1);
      std::vector<float> matrix = random_numbers(kRows * columns, 2);
      const std::vector<uint16_t> halves = as_bfloat16(matrix);
      for (const MatrixRows rows : {MatrixRows{matrix.data(), RowType::float32, columns},
                                    MatrixRows{halves.data(), RowType::bfloat16, columns}}) {
        std::vector<float> together(inputs * kRows), alone(kRows);
        functions().products(input.data(), inputs, rows, 0, 13, together.data(), kRows);
        functions().products(input.data(), inputs, rows, 13, kRows, together.data(), kRows);
        for (int64_t m = 0; m < inputs; ++m) {
          functions().products(input.data() + m * columns, 1, rows, 0, kRows, alone.data(), kRows);
          for (int64_t n = 0; n < kRows; ++n) {
            double expected = 0;
            for (int64_t i = 0; i < columns; ++i) expected += double{input[m * columns + i]} * matrix[n * columns + i];
            ASSERT_NEAR(alone[n], expected, 2e-5);
            ASSERT_EQ(together[m * kRows + n], alone[n]) << inputs << " inputs, " << columns << " columns";
          }
        }
      }
    }
  }
}

TEST_P(TokenRows, NormAndGateAreThoseOfTheDefinition) {
  for (const int64_t size : {1, 5, 16, 31, 64, 100}) {
    const std::vector<float> x = random_numbers(size, 3), weight = random_numbers(size, 4);
    std::vector<float> normed(size), gated(size), large(x);
    functions().normalize(x.data(), weight.data(), 1e-6F, size, normed.data());
    for (float& each : large) each *= 30;
    functions().gated(large.data(), weight.data(), size, gated.data());
    double squares = 0;
    for (const float each : x) squares += double{each} * each;
    for (int64_t i = 0; i < size; ++i) {
      EXPECT_NEAR(normed[i], x[i] * weight[i] / std::sqrt(squares / static_cast<double>(size) + 1e-6), 1e-5);
      const double expected = large[i] / (1 + std::exp(-double{large[i]})) * weight[i];
      EXPECT_NEAR(gated[i], expected, 1e-5 + 1e-5 * std::abs(expected));
    }
  }
}

TEST_P(TokenRows, AttentionIsThatOfTheDefinitionWhereverTheRingBreaks) {
  constexpr int64_t kHeads = 3;
  for (const int64_t dim : {3, 16, 40, 128}) {
    for (const int64_t count : {1, 2, 17, 50}) {
      const std::vector<float> query = random_numbers(kHeads * dim, 5);
      std::vector<float> keys = random_numbers(count * dim, 6), values = random_numbers(count * dim, 7);
      const std::vector<uint16_t> key_halves = as_bfloat16(keys), value_halves = as_bfloat16(values);
      const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
      const auto attend = [&](int64_t first, bool halves) {
        std::vector<float> scores(kHeads * count), output(kHeads * dim);
        const auto run = [&](int64_t from, int64_t size) {
          return halves ? TokenAttention::Run{key_halves.data() + from * dim, value_halves.data() + from * dim, size}
                        : TokenAttention::Run{keys.data() + from * dim, values.data() + from * dim, size};
        };
        functions().attend({query.data(),
                            kHeads,
                            dim,
                            {run(0, first), run(first, count - first)},
                            halves ? RowType::bfloat16 : RowType::float32,
                            scale,
                            scores.data(),
                            output.data()});
        return output;
      };
      const std::vector<float> whole = attend(count, false);
      for (int64_t head = 0; head < kHeads; ++head) {
        std::vector<double> weights;
        double sum = 0;
        for (int64_t j = 0; j < count; ++j) {
          double score = 0;
          for (int64_t i = 0; i < dim; ++i) score += double{query[head * dim + i]} * keys[j * dim + i];
          weights.push_back(std::exp(score * scale));
          sum += weights.back();
        }
        for (int64_t i = 0; i < dim; ++i) {
          double expected = 0;
          for (int64_t j = 0; j < count; ++j) expected += weights[j] / sum * values[j * dim + i];
          ASSERT_NEAR(whole[head * dim + i], expected, 1e-5);
        }
      }
      for (const int64_t first : {int64_t{0}, count / 2, count - 1}) {
        EXPECT_EQ(attend(first, false), whole);
        EXPECT_EQ(attend(first, true), attend(count, true));
      }
      const std::vector<float> of_halves = attend(count, true);
      for (size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(of_halves[i], whole[i], 1e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, TokenRows, ::testing::Values(0, 1, 2));

}  // namespace
}  // namespace rosa::kernels
