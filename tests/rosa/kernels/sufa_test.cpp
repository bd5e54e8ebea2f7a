// Every form of the fused SUFA that this processor can run, against the definition in float64.
#include "rosa/kernels/sufa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "rosa/kernels/sufa_variants.h"

namespace rosa::kernels {
namespace {

struct Case {
  int64_t heads, length, query_bits, value_bits, num_symbols, max_distance;
  float scale;
  bool bias;
  const char* input;  // random | constant | saturated
};

struct Arrays {
  std::vector<double> query, key, value, output, grad_output, grad_query, grad_key, grad_value;
};

double score(const Case& c, const Arrays& arrays, int64_t head, int64_t t, int64_t j) {
  double sum = 0;
  for (int64_t w = 0; w < c.num_symbols && t - w >= 0 && j - 1 - w >= 0; ++w) {
    for (int64_t d = 0; d < c.query_bits; ++d) {
      sum += arrays.query[(head * c.length + t - w) * c.query_bits + d] * arrays.key[(j - 1 - w) * c.query_bits + d];
    }
  }
  return sum * c.scale;
}

void add_score_gradient(const Case& c, Arrays& arrays, int64_t head, int64_t t, int64_t j, double gradient) {
  for (int64_t w = 0; w < c.num_symbols && t - w >= 0 && j - 1 - w >= 0; ++w) {
    for (int64_t d = 0; d < c.query_bits; ++d) {
      const int64_t q = (head * c.length + t - w) * c.query_bits + d, k = (j - 1 - w) * c.query_bits + d;
      arrays.grad_query[q] += gradient * c.scale * arrays.key[k];
      arrays.grad_key[k] += gradient * c.scale * arrays.query[q];
    }
  }
}

// Fills output and gradients by the definition.
void oracle(const Case& c, const std::vector<float>& bias, Arrays& arrays) {
  for (int64_t head = 0; head < c.heads; ++head) {
    for (int64_t t = 0; t < c.length; ++t) {
      const int64_t first = std::max<int64_t>(0, t - c.max_distance + 1);
      std::vector<double> weights;
      for (int64_t j = first; j <= t; ++j) weights.push_back(score(c, arrays, head, t, j) + bias[t - j]);
      const double best = *std::max_element(weights.begin(), weights.end());
      double total = 0, mean = 0;
      for (double& weight : weights) total += weight = std::exp(weight - best);
      std::vector<double> grad_weights;
      for (int64_t j = first; j <= t; ++j) {
        weights[j - first] /= total;
        double grad = 0;
        for (int64_t m = 0; m < c.value_bits; ++m) {
          const int64_t row = (head * c.length + t) * c.value_bits + m;
          arrays.output[row] += weights[j - first] * arrays.value[j * c.value_bits + m];
          arrays.grad_value[j * c.value_bits + m] += weights[j - first] * arrays.grad_output[row];
          grad += arrays.grad_output[row] * arrays.value[j * c.value_bits + m];
        }
        grad_weights.push_back(grad);
        mean += weights[j - first] * grad;
      }
      for (int64_t j = first; j <= t; ++j) {
        add_score_gradient(c, arrays, head, t, j, weights[j - first] * (grad_weights[j - first] - mean));
      }
    }
  }
}

Arrays make_arrays(const Case& c) {
  std::mt19937_64 random(7);
  std::normal_distribution<float> normal;
  const std::string kind = c.input;
  const auto fill = [&](int64_t count, bool logits) {
    std::vector<double> values(count);
    for (double& value : values) {
      float x = normal(random);
      if (logits && kind == "constant") x = 0.7F;
      if (logits && kind == "saturated") x = x > 0 ? 30.0F : -30.0F;
      value = logits ? std::tanh(x) : x;
    }
    return values;
  };
  Arrays arrays;
  arrays.query = fill(c.heads * c.length * c.query_bits, true);
  arrays.key = fill(c.length * c.query_bits, true);
  arrays.value = fill(c.length * c.value_bits, false);
  arrays.grad_output = fill(c.heads * c.length * c.value_bits, false);
  arrays.output.resize(arrays.grad_output.size());
  arrays.grad_query.resize(arrays.query.size());
  arrays.grad_key.resize(arrays.key.size());
  arrays.grad_value.resize(arrays.value.size());
  return arrays;
}

// `floor`: what counts as the largest entry where everything cancels (constant inputs).
void expect_near(const std::vector<float>& actual, const std::vector<double>& expected, double floor,
                 const std::string& what) {
  double largest = floor, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(std::isfinite(actual[i])) << what;
    largest = std::max(largest, std::abs(expected[i]));
    difference = std::max(difference, std::abs(actual[i] - expected[i]));
  }
  EXPECT_LE(difference, 1e-5 * largest) << what;
}

void check(const Case& c) {
  Arrays arrays = make_arrays(c);
  std::vector<float> bias(padded_length(c.length), 0.0F);
  for (int64_t delta = 0; c.bias && delta < c.length; ++delta) bias[delta] = std::exp(-(delta + 1) / 8192.0F);
  for (auto* array : {&arrays.query, &arrays.key, &arrays.value, &arrays.grad_output}) {
    for (double& value : *array) value = static_cast<float>(value);  // the oracle sees what the kernel sees
  }
  oracle(c, bias, arrays);
  SufaProblem problem{c.heads,       c.length,       c.query_bits, c.value_bits,
                      c.num_symbols, c.max_distance, c.scale,      bias.data()};
  const auto floats = [](const std::vector<double>& values) {
    return std::vector<float>(values.begin(), values.end());
  };
  const std::vector<float> query = floats(arrays.query), key = floats(arrays.key), value = floats(arrays.value);
  const std::vector<float> grad_output = floats(arrays.grad_output);
  const ConstRows q{query.data(), c.length * c.query_bits, c.query_bits}, k{key.data(), 0, c.query_bits};
  const ConstRows v{value.data(), 0, c.value_bits}, g{grad_output.data(), c.length * c.value_bits, c.value_bits};
  const SufaVariants variants = sufa_variants();
  for (int i = 0; i < variants.count; ++i) {
    SCOPED_TRACE(variants.variants[i].name);
    // The workspace may hold anything.
    std::vector<float> workspace(sufa_workspace_size(problem), std::nanf(""));
    std::vector<float> output(arrays.output.size()), grad_query(query.size()), grad_key(key.size()),
        grad_value(value.size());
    variants.variants[i].forward(problem, q, k, v, {output.data(), g.head_stride, g.row_stride}, workspace.data());
    expect_near(output, arrays.output, 1e-3, "output");
    std::fill(workspace.begin(), workspace.end(), std::nanf(""));
    variants.variants[i].backward(problem, q, k, v, g, {grad_query.data(), q.head_stride, q.row_stride},
                                  {grad_key.data(), 0, c.query_bits}, {grad_value.data(), 0, c.value_bits},
                                  workspace.data());
    expect_near(grad_query, arrays.grad_query, 0.2 * c.scale, "grad_query");
    expect_near(grad_key, arrays.grad_key, 0.2 * c.scale, "grad_key");
    expect_near(grad_value, arrays.grad_value, 1e-3, "grad_value");
    std::vector<float> values_only(value.size());
    variants.variants[i].backward(problem, q, k, v, g, {}, {}, {values_only.data(), 0, c.value_bits}, workspace.data());
    EXPECT_EQ(values_only, grad_value);
  }
}

TEST(Sufa, EqualsTheDefinition) {
  const int64_t all = int64_t{1} << 40;
  for (const char* input : {"random", "constant", "saturated"}) {
    for (const Case& c :
         {Case{1, 1, 8, 8, 16, all, 0.09F, true, input}, Case{1, 2, 8, 8, 16, all, 0.09F, true, input},
          Case{2, 37, 8, 8, 16, all, 0.09F, true, input}, Case{1, 64, 8, 8, 16, all, 0.09F, false, input},
          Case{2, 100, 4, 4, 8, 9, 0.5F, true, input}, Case{1, 70, 2, 2, 64, all, 0.3F, true, input},
          Case{1, 50, 1, 1, 128, all, 0.09F, true, input}, Case{3, 33, 3, 5, 1, all, 1.0F, true, input},
          Case{1, 90, 8, 8, 4, 1, 2.0F, true, input}, Case{1, 45, 63, 40, 2, 17, 0.1F, true, input},
          Case{1, 200, 8, 8, 16, all, 5.0F, true, input}}) {
      SCOPED_TRACE(std::string(input) + ", length " + std::to_string(c.length) + ", bits " +
                   std::to_string(c.query_bits) + ", symbols " + std::to_string(c.num_symbols));
      check(c);
    }
  }
}

TEST(Sufa, SomeFormRuns) { EXPECT_STREQ(sufa_instruction_set(), sufa_variants().variants[0].name); }

}  // namespace
}  // namespace rosa::kernels
