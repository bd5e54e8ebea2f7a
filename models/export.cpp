#include "models/export.h"

#include "base/error.h"
#include "base/file.h"
#include "models/safetensors_weights.h"

namespace rosa::models {

void export_qwen3(const Qwen3& model, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  base::require<base::FileError>(!error, "can't make folder ", folder.string(), ": ", error.message());
  Qwen3Config config = model.config();
  const at::ScalarType dtype = model.lm_head_weight().scalar_type();
  config.dtype = dtype == at::kBFloat16 ? "bfloat16" : dtype == at::kHalf ? "float16" : "float32";
  write_tensors(folder / "model.safetensors", model.parameters());
  base::write_file_atomically(folder / "config.json", to_json(config));
}

}  // namespace rosa::models
