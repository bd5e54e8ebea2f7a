// The forms of the proxies against each other, against a plain loop, and against finite differences.
#include "rosa/operator/proxies.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "tests/rosa/operator/inputs.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

using testing::documents_of;
using testing::expect_close;
using testing::make_input;
using testing::Sizes;

constexpr std::array<bool, 3> kAll{true, true, true};
constexpr std::array<Proxy, 3> kProxies{Proxy::sufa, Proxy::soft_rosa, Proxy::dense_surrogate};

OperatorOptions options_of(const Sizes& sizes) {
  OperatorOptions options;
  options.sufa_head_dim = sizes.query_bits * 6;
  options.bits_tau = 0.7;
  options.attn_tau = 0.4;
  options.training = true;
  return options;
}

// Gradients of the plain composition by autograd.
std::array<at::Tensor, 3> composition_gradients(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                                const at::Tensor& grad_output) {
  OperatorInput leaves = input;
  for (at::Tensor* tensor : {&leaves.query, &leaves.key, &leaves.value}) *tensor = tensor->detach().requires_grad_();
  const at::Tensor output = proxy_composition(proxy, leaves, options);
  const auto gradients =
      torch::autograd::grad({output}, {leaves.query, leaves.key, leaves.value}, {grad_output.to(output.scalar_type())});
  return {gradients[0], gradients[1], gradients[2]};
}

at::Tensor random_like_output(const OperatorInput& input) {
  return at::randn({input.query.size(0), input.query.size(1), input.query.size(2), input.value.size(3)},
                   input.query.options());
}

OperatorInput to_double(const OperatorInput& input) {
  return {input.query.to(at::kDouble), input.key.to(at::kDouble), input.value.to(at::kDouble), input.mask,
          input.documents};
}

double plain_bias(int64_t x) {
  return std::max(0.0, 1 - std::max(std::log(static_cast<double>(x)), 1.0) / std::log(8192.0));
}

// Entry by entry, straight from the definition.
double soft_rosa_run(const at::Tensor& agreement, int64_t t, int64_t i) {
  const auto a = agreement.accessor<double, 2>();
  double total = 0, best = 0;
  for (int64_t step = i; step >= 0; --step) {
    const int64_t column = i - step, row = t - step;
    total += a[row][column];
    best = std::max(best, total * (1 - a[row][column]));
  }
  return total - best;
}

at::Tensor plain_soft_rosa(const OperatorInput& input, const OperatorOptions& options, int64_t batch, int64_t head) {
  const int64_t length = input.query.size(2), bits = input.query.size(3);
  const int64_t group = head / (input.query.size(1) / input.key.size(1));
  const at::Tensor query = at::tanh(input.query[batch][head] / options.bits_tau);
  const at::Tensor key = at::tanh(input.key[batch][group] / options.bits_tau);
  const at::Tensor value = at::sigmoid(input.value[batch][group] / options.bits_tau);
  const double tau = options.bits_tau;
  const at::Tensor agreement =
      at::sigmoid((at::matmul(query, key.t()) - static_cast<double>(bits - 1) * (1 - tau)) / tau).tril(-1).contiguous();
  at::Tensor output = at::zeros({length, input.value.size(3)}, at::kDouble);
  for (int64_t t = 0; t < length; ++t) {
    std::vector<double> run(t + 1, 0.0);
    for (int64_t j = 1; j <= t; ++j) run[j] = soft_rosa_run(agreement, t, j - 1);
    double total = 0, largest = 0;
    at::Tensor mixed = at::zeros({input.value.size(3)}, at::kDouble);
    for (int64_t j = 0; j <= t; ++j) {
      const double bias = options.position_bias == PositionBias::none ? 0
                          : options.position_bias == PositionBias::log
                              ? plain_bias(t - j + 2)
                              : std::exp(static_cast<double>(j - t - 1) / 8192);
      const double weight = std::exp((run[j] + bias) / options.attn_tau);
      total += weight;
      largest = std::max(largest, run[j]);
      mixed += weight * value[j];
    }
    output[t] = mixed / total * std::min(1.0, largest);
  }
  return output;
}

TEST(Proxies, SoftRosaIsItsDefinition) {
  at::manual_seed(1);
  const Sizes sizes;
  for (const char* kind : {"random", "constant", "zero", "periodic"}) {
    const OperatorInput input = make_input(kind, sizes, at::kDouble, true);
    for (const PositionBias bias : {PositionBias::none, PositionBias::exp, PositionBias::log}) {
      OperatorOptions options = options_of(sizes);
      options.position_bias = bias;
      const at::Tensor output = proxy_composition(Proxy::soft_rosa, input, options);
      for (int64_t head = 0; head < sizes.heads; ++head) {
        expect_close(output[1][head], plain_soft_rosa(input, options, 1, head), 1e-12, kind);
      }
    }
  }
}

// One head, row by row, straight from the definition: keys before the query, each with the value that follows it.
at::Tensor plain_log_sufa(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                          const OperatorOptions& options, const at::Tensor& allowed) {
  const at::Tensor q = at::tanh(query / options.bits_tau), k = at::tanh(key / options.bits_tau);
  const at::Tensor v = at::sigmoid(value / options.bits_tau);
  const int64_t length = query.size(0), num_symbols = options.sufa_head_dim / query.size(1);
  std::vector<at::Tensor> rows{at::zeros({value.size(1)}, at::kDouble)};
  for (int64_t t = 1; t < length; ++t) {
    std::vector<at::Tensor> logits, values;
    for (int64_t j = 0; j < t; ++j) {
      if (!allowed[t][j].item<bool>()) continue;
      at::Tensor score = at::zeros({}, at::kDouble);
      for (int64_t w = 0; w < num_symbols && j - w >= 0; ++w) score = score + q[t - w].dot(k[j - w]);
      logits.push_back((score / std::sqrt(static_cast<double>(options.sufa_head_dim)) + plain_bias(t - j + 1)) /
                       options.attn_tau);
      values.push_back(v[j + 1]);
    }
    rows.push_back(logits.empty() ? rows.front() : at::matmul(at::softmax(at::stack(logits), 0), at::stack(values)));
  }
  return at::stack(rows);
}

TEST(Proxies, LogarithmicSufaIsItsDefinition) {
  at::manual_seed(12);
  const Sizes sizes{1, 2, 1, 23, 3, 2};
  for (const int64_t window : {1, 2, 9, 30}) {
    for (const bool masked : {false, true}) {
      OperatorOptions options = options_of(sizes);
      options.position_bias = PositionBias::log;
      options.proxy_mask = ProxyMask::sliding_window;
      options.sliding_window = window;
      OperatorInput input = make_input("random", sizes, at::kDouble, true);
      const at::Tensor distance = at::arange(23).unsqueeze(1) - at::arange(23).unsqueeze(0);
      at::Tensor allowed = distance < window;
      if (masked) {
        input.mask = at::rand({1, 1, 23, 23}) < 0.6;
        allowed = allowed.logical_and(input.mask[0][0]);
      }
      const at::Tensor composed = proxy_composition(Proxy::sufa, input, options);
      OperatorInput floats = input;
      for (at::Tensor* tensor : {&floats.query, &floats.key, &floats.value}) *tensor = tensor->to(at::kFloat);
      const at::Tensor fused = proxy_forward(Proxy::sufa, floats, options);
      options.proxy_kernel = ProxyKernel::sdpa;
      const at::Tensor by_sdpa = proxy_forward(Proxy::sufa, input, options);
      for (int64_t head = 0; head < 2; ++head) {
        const at::Tensor expected =
            plain_log_sufa(input.query[0][head], input.key[0][0], input.value[0][0], options, allowed);
        expect_close(composed[0][head], expected, 1e-12, "composed");
        expect_close(by_sdpa[0][head], expected, 1e-12, "sdpa");
        expect_close(fused[0][head], expected, 1e-5, "fused");
      }
    }
  }
}

// sign, with the derivative of softsign at x.
at::Tensor plain_sign(const at::Tensor& x) {
  return x.sign() + ((x.abs() - x.abs().detach()) * x.sign()) / (1 + x.abs().detach()).square();
}

// One head, one document, straight from the definition: every product of matches for itself.
at::Tensor plain_dense_surrogate(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                 const OperatorOptions& options, const at::Tensor& allowed) {
  const at::Tensor q = plain_sign(query / options.bits_tau), k = plain_sign(key / options.bits_tau);
  const at::Tensor v = plain_sign(value / options.bits_tau);
  const int64_t length = query.size(0);
  const auto match = [&](int64_t t, int64_t i) { return (-3 * (1 - (q[t] * k[i]).mean()) / 2).exp(); };
  std::vector<at::Tensor> rows;
  for (int64_t t = 0; t < length; ++t) {
    std::vector<at::Tensor> utilities, values;
    for (int64_t a = 1; a <= t; ++a) {
      if (!allowed[t][a - 1].item<bool>()) continue;
      at::Tensor run = at::zeros({}, at::kDouble), product = at::ones({}, at::kDouble);
      for (int64_t u = 0; u < 32 && a - 1 - u >= 0 && allowed[t - u][a - 1 - u].item<bool>(); ++u) {
        product = product * match(t - u, a - 1 - u);
        run = run + product;
      }
      utilities.push_back((std::sqrt(2.0) + 1) * ((1 + run).sqrt() - 1) / options.attn_tau);
      values.push_back(v[a]);
    }
    at::Tensor carrier = at::zeros({value.size(1)}, at::kDouble);
    if (!values.empty()) {
      const at::Tensor logits = at::stack(utilities) - std::log(static_cast<double>(values.size()));
      const at::Tensor null = at::full({1}, 0.5 / options.attn_tau, at::kDouble);
      const at::Tensor weights = at::softmax(at::cat({logits, null}), 0).narrow(0, 0, logits.size(0));
      carrier = at::matmul(weights, at::stack(values));
    }
    rows.push_back((1 + carrier) / 2);
  }
  return at::stack(rows);
}

TEST(Proxies, DenseSurrogateIsItsDefinition) {
  at::manual_seed(11);
  for (const bool restricted : {false, true}) {
    const Sizes sizes{1, 2, 1, 40, 3, 2};
    OperatorInput input = make_input("random", sizes, at::kDouble, true);
    for (at::Tensor* tensor : {&input.query, &input.key, &input.value}) *tensor = tensor->detach().requires_grad_();
    OperatorOptions options = options_of(sizes);
    const at::Tensor distance = at::arange(40).unsqueeze(1) - at::arange(40).unsqueeze(0);
    at::Tensor allowed = distance > 0;
    if (restricted) {
      options.proxy_mask = ProxyMask::sliding_window;
      options.sliding_window = 17;
      input.mask = at::rand({1, 1, 40, 40}) < 0.9;
      allowed = allowed.logical_and(distance < 17).logical_and(input.mask[0][0]);
    }
    const at::Tensor upstream = at::randn({1, 2, 40, 2}, at::kDouble);
    const std::vector<at::Tensor> leaves{input.query, input.key, input.value};
    std::vector<at::Tensor> heads;
    for (int64_t head = 0; head < 2; ++head) {
      heads.push_back(
          plain_dense_surrogate(input.query[0][head], input.key[0][0], input.value[0][0], options, allowed));
    }
    const at::Tensor expected = at::stack(heads).unsqueeze(0);
    expect_close(proxy_composition(Proxy::dense_surrogate, input, options), expected, 1e-12);
    const auto expected_gradients = torch::autograd::grad({expected}, leaves, {upstream});
    const auto actual = proxy_backward(Proxy::dense_surrogate, input, options, upstream, kAll);
    for (size_t i = 0; i < 3; ++i) expect_close(actual[i], expected_gradients[i], 1e-12);
  }
}

// Where everything cancels (constant inputs) the gradient itself is rounding: measured by the upstream.
void expect_gradients(const std::array<at::Tensor, 3>& actual, const std::array<at::Tensor, 3>& expected,
                      double floor = 1e-2) {
  for (size_t i = 0; i < 3; ++i) {
    const double largest = std::max(expected[i].abs().max().item<double>(), floor);
    EXPECT_LE((actual[i] - expected[i]).abs().max().item<double>(), 1e-5 * largest) << "gradient " << i;
  }
}

void check_sdpa(const OperatorInput& input, OperatorOptions options, const at::Tensor& upstream,
                const at::Tensor& expected, const std::array<at::Tensor, 3>& expected_gradients) {
  options.proxy_kernel = ProxyKernel::sdpa;
  expect_close(proxy_forward(Proxy::sufa, input, options), expected, 1e-5, "sdpa");
  expect_gradients(proxy_backward(Proxy::sufa, input, options, upstream, kAll), expected_gradients);
}

TEST(Proxies, FastFormsEqualTheComposition) {
  at::set_num_threads(1);  // many small tensors: waking threads would be most of the time
  at::manual_seed(2);
  for (const Proxy proxy : kProxies) {
    for (const char* kind : {"random", "constant", "zero", "periodic"}) {
      for (const Sizes& sizes :
           {Sizes{}, Sizes{3, 2, 2, 1, 8, 8}, Sizes{1, 6, 2, 70, 8, 8}, Sizes{2, 2, 1, 45, 1, 1}}) {
        for (const ProxyMask mask : {ProxyMask::causal, ProxyMask::sliding_window}) {
          SCOPED_TRACE(std::string(kind) + " " + std::to_string(sizes.length));
          OperatorOptions options = options_of(sizes);
          options.proxy_mask = mask;
          options.sliding_window = 9;
          options.position_bias = mask == ProxyMask::causal ? PositionBias::exp : PositionBias::none;
          const OperatorInput input = make_input(kind, sizes);
          const at::Tensor upstream = random_like_output(input);
          const at::Tensor expected = proxy_composition(proxy, to_double(input), options);
          const auto expected_gradients =
              composition_gradients(proxy, to_double(input), options, upstream.to(at::kDouble));
          expect_close(proxy_forward(proxy, input, options), expected, 1e-5);
          expect_close(proxy_blocks_forward(proxy, input, options), expected, 1e-5);
          if (proxy == Proxy::sufa) check_sdpa(input, options, upstream, expected, expected_gradients);
          if (proxy == Proxy::soft_rosa && kind != std::string("random")) continue;  // ties in the maxima
          // The dense surrogate's routes of equal symbols cancel in the gradients of queries and keys.
          const bool cancels = proxy == Proxy::dense_surrogate && kind != std::string("random");
          expect_gradients(proxy_backward(proxy, input, options, upstream, kAll), expected_gradients,
                           cancels ? 2 : 1e-2);
        }
      }
    }
  }
}

TEST(Proxies, FastFormsOfTheLogarithmicBiasEqualTheComposition) {
  at::set_num_threads(1);
  at::manual_seed(13);
  for (const Proxy proxy : {Proxy::sufa, Proxy::soft_rosa}) {
    for (const Sizes& sizes : {Sizes{}, Sizes{3, 2, 2, 1, 8, 8}, Sizes{1, 6, 2, 70, 8, 8}, Sizes{2, 3, 1, 45, 1, 5}}) {
      for (const int64_t window : {0, 1, 2, 9}) {  // 0: none
        SCOPED_TRACE(std::to_string(sizes.length) + " " + std::to_string(window));
        OperatorOptions options = options_of(sizes);
        options.position_bias = PositionBias::log;
        options.proxy_mask = window == 0 ? ProxyMask::causal : ProxyMask::sliding_window;
        options.sliding_window = std::max<int64_t>(window, 1);
        if (window == 2) options.attn_tau = 0.004;  // logits beyond what the fused forward takes in one pass
        OperatorInput input = make_input("random", sizes);
        if (window == 9 && sizes.length == 70) input.documents = documents_of(sizes.batch, {1, 2, 30, 37});
        const at::Tensor upstream = random_like_output(input);
        const at::Tensor expected = proxy_composition(proxy, to_double(input), options);
        const auto expected_gradients =
            composition_gradients(proxy, to_double(input), options, upstream.to(at::kDouble));
        expect_close(proxy_forward(proxy, input, options), expected, window == 2 ? 1e-4 : 1e-5);
        if (window == 2) continue;  // nor would float32 gradients say much
        expect_gradients(proxy_backward(proxy, input, options, upstream, kAll), expected_gradients);
        if (proxy == Proxy::sufa) check_sdpa(input, options, upstream, expected, expected_gradients);
      }
    }
  }
}

TEST(Proxies, EveryFormTakesAMask) {
  at::manual_seed(8);
  const Sizes sizes;
  OperatorInput input = make_input("random", sizes);
  input.mask = at::rand({1, sizes.heads, sizes.length, sizes.length}) < 0.5;
  input.mask.select(2, 7).fill_(false);
  const at::Tensor upstream = random_like_output(input);
  for (const auto& [proxy, bias] :
       {std::pair{Proxy::sufa, PositionBias::exp}, std::pair{Proxy::sufa, PositionBias::log},
        std::pair{Proxy::soft_rosa, PositionBias::exp}, std::pair{Proxy::soft_rosa, PositionBias::log},
        std::pair{Proxy::dense_surrogate, PositionBias::exp}}) {
    OperatorOptions options = options_of(sizes);
    options.position_bias = bias;
    const at::Tensor expected = proxy_composition(proxy, to_double(input), options);
    const auto expected_gradients = composition_gradients(proxy, to_double(input), options, upstream.to(at::kDouble));
    expect_close(proxy_forward(proxy, input, options), expected, 1e-5);
    expect_gradients(proxy_backward(proxy, input, options, upstream, kAll), expected_gradients);
    if (proxy == Proxy::sufa) check_sdpa(input, options, upstream, expected, expected_gradients);
  }
}

TEST(Proxies, LowPrecisionIsReadAsItIsAndComputedInFloat32) {
  at::manual_seed(9);
  const Sizes sizes{2, 4, 2, 53, 8, 8};
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    for (const Proxy proxy : kProxies) {
      OperatorInput input = make_input("random", sizes);
      for (at::Tensor* tensor : {&input.query, &input.key, &input.value}) *tensor = tensor->to(dtype);
      OperatorInput widened = input;
      for (at::Tensor* tensor : {&widened.query, &widened.key, &widened.value}) *tensor = tensor->to(at::kFloat);
      OperatorOptions options = options_of(sizes);
      if (dtype == at::kBFloat16) options.position_bias = PositionBias::log;
      const at::Tensor output = proxy_forward(proxy, input, options), upstream = random_like_output(widened);
      EXPECT_EQ(output.scalar_type(), at::kFloat);
      EXPECT_TRUE(testing::is_equal(output, proxy_forward(proxy, widened, options)));
      const auto gradients = proxy_backward(proxy, input, options, upstream, kAll);
      const auto widened_gradients = proxy_backward(proxy, widened, options, upstream, kAll);
      for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(testing::is_equal(gradients[i], widened_gradients[i].to(dtype)));
    }
  }
}

TEST(Proxies, GradientsEqualFiniteDifferences) {
  at::manual_seed(3);
  const Sizes sizes{1, 2, 1, 9, 2, 2};
  for (const auto& [proxy, bias] :
       {std::pair{Proxy::sufa, PositionBias::exp}, std::pair{Proxy::sufa, PositionBias::log},
        std::pair{Proxy::soft_rosa, PositionBias::exp}, std::pair{Proxy::soft_rosa, PositionBias::log}}) {
    OperatorOptions options = options_of(sizes);
    options.position_bias = bias;
    const OperatorInput input = make_input("random", sizes, at::kDouble);
    const at::Tensor upstream = random_like_output(input);
    const auto gradients = proxy_backward(proxy, input, options, upstream, kAll);
    const at::Tensor* const tensors[] = {&input.query, &input.key, &input.value};
    for (size_t i = 0; i < 3; ++i) {
      at::Tensor flat = tensors[i]->view({-1});  // shares the input's memory
      const at::Tensor gradient = gradients[i].contiguous().view({-1});
      for (int64_t n = 0; n < flat.numel(); ++n) {
        constexpr double kStep = 1e-6;
        const auto loss_at = [&](double shift) {
          flat[n] += shift;
          const double loss = (proxy_forward(proxy, input, options) * upstream).sum().item<double>();
          flat[n] -= shift;
          return loss;
        };
        EXPECT_NEAR(gradient[n].item<double>(), (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep), 1e-7);
      }
    }
  }
}

TEST(Proxies, PackedDocumentsAreEachAlone) {
  at::manual_seed(4);
  const Sizes sizes{2, 4, 2, 60, 8, 8};
  const std::vector<int64_t> lengths{1, 17, 2, 40};
  for (const auto& [proxy, bias] :
       {std::pair{Proxy::sufa, PositionBias::exp}, std::pair{Proxy::sufa, PositionBias::log},
        std::pair{Proxy::soft_rosa, PositionBias::log}, std::pair{Proxy::dense_surrogate, PositionBias::exp}}) {
    OperatorOptions options = options_of(sizes);
    options.sufa_head_dim = 64;
    options.position_bias = bias;
    OperatorInput input = make_input("random", sizes);
    const at::Tensor upstream = random_like_output(input);
    input.documents = documents_of(sizes.batch, lengths);
    const at::Tensor output = proxy_forward(proxy, input, options);
    const at::Tensor composed = proxy_composition(proxy, input, options);
    const auto gradients = proxy_backward(proxy, input, options, upstream, kAll);
    int64_t begin = 0;
    for (const int64_t length : lengths) {
      const OperatorInput alone = testing::slice(input, begin, length);
      const auto part = [&](const at::Tensor& tensor) { return tensor.narrow(2, begin, length); };
      EXPECT_TRUE(testing::is_equal(part(output), proxy_forward(proxy, alone, options)));
      expect_close(part(composed), proxy_forward(proxy, alone, options), 1e-5);
      const auto alone_gradients = proxy_backward(proxy, alone, options, part(upstream), kAll);
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(testing::is_equal(part(gradients[i]), alone_gradients[i])) << "gradient " << i;
      }
      begin += length;
    }
  }
}

TEST(Proxies, RowsWithoutVisibleCellsGiveZero) {
  at::manual_seed(5);
  const Sizes sizes;
  OperatorInput input = make_input("random", sizes);
  input.mask = at::rand({1, sizes.heads, sizes.length, sizes.length}) < 0.5;
  input.mask.select(2, 7).fill_(false);
  const OperatorOptions options = options_of(sizes);
  const at::Tensor output = proxy_forward(Proxy::sufa, input, options);
  EXPECT_EQ(output.select(2, 7).abs().max().item<float>(), 0);
  const auto gradients = proxy_backward(Proxy::sufa, input, options, random_like_output(input), kAll);
  for (const at::Tensor& gradient : gradients) EXPECT_TRUE(gradient.isfinite().all().item<bool>());
}

TEST(Proxies, ThreadsDoNotChangeBits) {
  at::manual_seed(6);
  const Sizes sizes{3, 4, 2, 100, 8, 8};
  const OperatorInput input = make_input("random", sizes);
  OperatorOptions options = options_of(sizes);
  options.sufa_head_dim = 128;
  const at::Tensor upstream = random_like_output(input);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor output = proxy_forward(Proxy::sufa, input, options);
  const auto gradients = proxy_backward(Proxy::sufa, input, options, upstream, kAll);
  at::set_num_threads(4);
  EXPECT_TRUE(testing::is_equal(proxy_forward(Proxy::sufa, input, options), output));
  const auto again = proxy_backward(Proxy::sufa, input, options, upstream, kAll);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(testing::is_equal(again[i], gradients[i]));
  at::set_num_threads(threads);
}

TEST(Proxies, OnlyNeededGradients) {
  at::manual_seed(7);
  const Sizes sizes;
  const OperatorInput input = make_input("random", sizes);
  for (const Proxy proxy : kProxies) {
    const OperatorOptions options = options_of(sizes);
    const at::Tensor upstream = random_like_output(input);
    const auto all = proxy_backward(proxy, input, options, upstream, kAll);
    for (size_t i = 0; i < 3; ++i) {
      std::array<bool, 3> needed{};
      needed[i] = true;
      const auto some = proxy_backward(proxy, input, options, upstream, needed);
      for (size_t k = 0; k < 3; ++k) EXPECT_EQ(some[k].defined(), k == i);
      expect_close(some[i], all[i], 1e-6);
    }
  }
}

}  // namespace
}  // namespace rosa
