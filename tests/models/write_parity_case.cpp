// Writes a random student and what it says, for the Python tests: FOLDER/base (Hugging Face), FOLDER/model and
// FOLDER/adapter (exported), FOLDER/expected.safetensors.
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

enum class Case { plain, full, gated };

void write_case(const std::filesystem::path& folder, Case which) {
  const bool plain = which == Case::plain;
  const at::NoGradGuard no_gradient;
  ModelConfig config = tiny_config();
  config.tie_word_embeddings = plain;
  const CausalModel model = CausalModel::random(config, 21);
  AdapterConfig adapter_config = lively_adapter_config();
  if (plain) {
    adapter_config = rosa_soft_adapter_config();  // a file as rosa_soft's: 8 bits, no bias, no third vector
    adapter_config.value_embedding_scale = 1;
  } else if (which == Case::gated) {
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
  std::filesystem::create_directory(folder / "model");
  export_student(model, adapters, settings, folder / "model");
  std::filesystem::create_directory(folder / "adapter");
  export_adapter(adapters, settings, folder / "adapter");

  HostExecutor executor(1);
  ForwardOptions options;
  options.sliding_window = kWindow;
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

}  // namespace
}  // namespace rosa::models

int main(int argc, char** argv) {
  try {
    rosa::base::require(argc == 2, "usage: write_parity_case FOLDER");
    using rosa::models::Case;
    for (const auto& [name, which] :
         {std::pair{"plain", Case::plain}, std::pair{"full", Case::full}, std::pair{"gated", Case::gated}}) {
      rosa::models::write_case(std::filesystem::path(argv[1]) / name, which);
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
