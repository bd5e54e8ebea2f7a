// The C++ side of the comparison with Hugging Face transformers.
//   write_parity_case FOLDER        Random students and what they say: for each FOLDER/CASE/base (Hugging Face),
//                                   FOLDER/CASE/model and FOLDER/CASE/adapter (exported),
//                                   FOLDER/CASE/expected.safetensors.
//   write_parity_case read FOLDER   What the model in FOLDER makes of FOLDER/input.safetensors: logits, loss, gradients
//   of
//                                   the loss, and a greedy continuation, in FOLDER/ours.safetensors.
#include <iostream>
#include <utility>

#include "base/error.h"
#include "base/safetensors.h"
#include "models/export.h"
#include "models/generate.h"
#include "rosa/operator/tensor_bytes.h"
#include "tests/models/tiny_model.h"

namespace rosa::models {
namespace {

constexpr int64_t kWindow = 16;
// Of some cases: the second layer is global, the last one's window is in blocks of more than it.
const std::vector<int64_t> kLayerWindows = {kWindow, 0, 5};
constexpr int64_t kSinks = 3;

enum class Case { plain, full, gated, qwen2, llama };

// Biases that matter: fresh ones are 0.
void stir_biases(CausalModel& model) {
  for (auto& [name, weight] : model.parameters()) {
    if (name.ends_with(".bias")) weight.copy_(at::randn_like(weight) * 0.3);
  }
}

void write_case(const std::filesystem::path& folder, Case which) {
  const bool plain = which == Case::plain;
  const bool has_spans = which == Case::qwen2 || which == Case::llama;
  const at::NoGradGuard no_gradient;
  ModelConfig config = tiny_config();
  config.tie_word_embeddings = plain;
  if (which == Case::qwen2) {
    config.family = ModelFamily::qwen2;
    config.rope_scaling = {.type = RopeType::yarn, .factor = 4, .original_max_position_embeddings = 32};
  } else if (which == Case::llama) {
    config.family = ModelFamily::llama;
    config.rope_scaling = {.type = RopeType::llama3, .factor = 8, .original_max_position_embeddings = 64};
  }
  CausalModel model = CausalModel::random(config, 21);
  stir_biases(model);
  AdapterConfig adapter_config = lively_adapter_config();
  if (plain) {
    adapter_config = rosa_soft_adapter_config();  // a file as rosa_soft's: 8 bits, no bias, no third vector
    adapter_config.value_embedding_scale = 1;
  } else if (which == Case::gated || which == Case::qwen2) {
    adapter_config = gated_adapter_config(Agreement::tied);
    adapter_config.bias = true;
  } else {
    adapter_config.gates = {"hidden", "agreement", "length"};  // beside the attention
    adapter_config.agreement = Agreement::full;
    adapter_config.candidates = Candidates::mean;
    adapter_config.bias = true;
    adapter_config.layers = {0, 2};
  }
  AdapterSet adapters(adapter_config, config, 22);
  for (auto& [name, parameter] : adapters.parameters()) {
    if (name.find("v_emb") != std::string::npos) parameter.add_(at::randn_like(parameter), 0.3);
  }
  stir_gates(adapters);
  export_model(model, folder / "base");
  StudentExport settings{.sliding_window = kWindow, .dtype = "float32", .base_folder = folder / "base"};
  // The full case in many files.
  if (!plain) settings.max_shard_bytes = 60'000;
  if (has_spans) {
    settings.layer_windows = kLayerWindows;
    settings.sink_tokens = kSinks;
  }
  std::filesystem::create_directory(folder / "model");
  export_student(model, adapters, settings, folder / "model");
  std::filesystem::create_directory(folder / "adapter");
  export_adapter(config.family, adapters, settings, folder / "adapter");

  HostExecutor executor(1);
  ForwardOptions options;
  options.sliding_window = kWindow;
  if (has_spans) {
    options.layer_windows = kLayerWindows;
    options.sink_tokens = kSinks;
  }
  options.adapters = &adapters;
  options.executor = &executor;
  const at::Tensor input_ids = random_ids(2, 90, config.vocab_size);
  const at::Tensor student = model.logits(model.hidden_states(input_ids, options));
  const at::Tensor teacher = model.logits(model.teacher_hidden_states(input_ids));
  GenerateOptions greedy;
  greedy.max_new_tokens = 24;
  const at::Tensor continued = generate(model, input_ids.narrow(1, 0, 40).contiguous(), options, greedy);
  base::write_safetensors(folder / "expected.safetensors", {{"input_ids", view_bytes(input_ids)},
                                                            {"student_logits", view_bytes(student)},
                                                            {"continued", view_bytes(continued)},
                                                            {"teacher_logits", view_bytes(teacher)}});
}

void read_case(const std::filesystem::path& folder) {
  CausalModel model = CausalModel::load(folder);
  const base::SafetensorsFile input(folder / "input.safetensors");
  const at::Tensor input_ids = to_tensor(input.tensors().at("input_ids"));
  for (auto& [name, weight] : model.parameters()) weight.requires_grad_(true);
  const at::Tensor logits = model.logits(model.hidden_states(input_ids));
  const int64_t length = input_ids.size(1);
  const at::Tensor loss = at::cross_entropy_loss(logits.narrow(1, 0, length - 1).flatten(0, 1),
                                                 input_ids.narrow(1, 1, length - 1).flatten());
  loss.backward();
  std::map<std::string, at::Tensor> kept = {{"logits", logits.detach()}, {"loss", loss.detach()}};
  for (const auto& [name, weight] : model.parameters()) kept["grad." + name] = weight.grad();
  const at::NoGradGuard no_gradient;
  GenerateOptions greedy;
  greedy.max_new_tokens = 24;
  kept["continued"] = generate(model, input_ids.narrow(1, 0, 40).contiguous(), {}, greedy);
  std::map<std::string, base::TensorView> views;
  for (auto& [name, tensor] : kept) {
    tensor = tensor.contiguous();
    views[name] = view_bytes(tensor);
  }
  base::write_safetensors(folder / "ours.safetensors", views);
}

}  // namespace
}  // namespace rosa::models

int main(int argc, char** argv) {
  try {
    if (argc == 3 && std::string_view(argv[1]) == "read") {
      rosa::models::read_case(argv[2]);
      return 0;
    }
    rosa::base::require(argc == 2, "usage: write_parity_case [read] FOLDER");
    using rosa::models::Case;
    for (const auto& [name, which] :
         {std::pair{"plain", Case::plain}, std::pair{"full", Case::full}, std::pair{"gated", Case::gated},
          std::pair{"qwen2", Case::qwen2}, std::pair{"llama", Case::llama}}) {
      rosa::models::write_case(std::filesystem::path(argv[1]) / name, which);
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
