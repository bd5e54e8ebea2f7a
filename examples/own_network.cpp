// A network of one's own with a ROSA adapter in it: an embedding, the adapter, a head; no attention at all.
// It learns to repeat a random text that it saw once, which no network without memory of the text can.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdio>
#include <vector>

#include "models/adapter.h"

namespace {

constexpr int64_t kVocabulary = 16, kHidden = 32, kLength = 48, kBatch = 4;

at::Tensor weight(int64_t rows, int64_t columns) { return at::randn({rows, columns}).div(8).requires_grad_(); }

}  // namespace

int main() {
  at::manual_seed(1);
  rosa::models::ModelConfig network;  // the adapter asks it for the number of layers and their width only
  network.hidden_size = kHidden;
  network.num_hidden_layers = 1;
  rosa::models::AdapterConfig config;
  config.query_key_bits = 4;
  config.value_bits = 4;
  rosa::models::AdapterSet adapters(config, network, /*seed=*/1);

  rosa::HostExecutor executor(2);
  rosa::models::AdapterCall call;
  call.executor = &executor;
  call.options = adapters.operator_options({.training = true}, /*sliding_window=*/kLength);

  const at::Tensor embedding = weight(kVocabulary, kHidden), head = weight(kVocabulary, kHidden);
  std::vector<at::Tensor> weights = {embedding, head};
  for (const auto& [name, parameter] : adapters.parameters()) weights.push_back(parameter);

  double first_loss = 0, loss_value = 0;
  for (int step = 0; step < 200; ++step) {
    const at::Tensor text = at::randint(kVocabulary, {kBatch, kLength / 2}, at::kLong);
    const at::Tensor ids = at::cat({text, text}, 1);
    const at::Tensor hidden = at::embedding(embedding, ids);
    const at::Tensor logits = at::linear(hidden + adapters.forward(0, hidden, call), head);
    // Only the second half can be known: predict its tokens from the second on.
    const at::Tensor loss = at::cross_entropy_loss(logits.slice(1, kLength / 2, kLength - 1).reshape({-1, kVocabulary}),
                                                   ids.slice(1, kLength / 2 + 1).reshape({-1}));
    const auto gradients = torch::autograd::grad({loss}, weights, {}, {}, false, /*allow_unused=*/true);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (gradients[i].defined()) weights[i].data().sub_(gradients[i].sign().mul(0.003));
    }
    loss_value = loss.item<double>();
    if (step == 0) first_loss = loss_value;
  }
  std::printf("loss %.3f -> %.3f\n", first_loss, loss_value);
  return loss_value < 0.5 * first_loss ? 0 : 1;
}
