// ModelConfig: the sizes and constants of a model, read from and written as Hugging Face's config.json.
// What the forward does not implement is refused with the key's name, never ignored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/config_problems.h"
#include "base/fields.h"
#include "models/rotary.h"

namespace rosa::models {

// The kinds of models that are known, by Hugging Face's `model_type`. All are decoders of the same plan: RMSNorm before
// grouped attention with rotary positions and before a gated MLP.
enum class ModelFamily {
  qwen3,  // queries and keys are normalised by head
  qwen2,  // Qwen2 and Qwen2.5: biases of queries, keys and values
  llama,  // Llama 2 and 3, and what names itself so
};

inline constexpr ModelFamily kFamilies[] = {ModelFamily::qwen3, ModelFamily::qwen2, ModelFamily::llama};

struct FamilyTraits {
  const char* model_type;     // of config.json
  const char* class_prefix;   // of transformers' classes
  bool query_key_norms;       // self_attn.{q,k}_norm.weight
  bool query_key_value_bias;  // self_attn.{q,k,v}_proj.bias
};

const FamilyTraits& traits(ModelFamily family);

// The linear projections of a layer, in the order of its forward.
enum class Projection { query, key, value, output, gate, up, down };

inline constexpr size_t kNumProjections = 7;

// Their names in a layer: "model.layers.0." before them, ".weight" or ".bias" behind.
inline constexpr const char* kProjectionNames[kNumProjections] = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

struct ModelConfig {
  ModelFamily family = ModelFamily::qwen3;
  int64_t vocab_size = 128;
  int64_t hidden_size = 64;
  int64_t intermediate_size = 192;
  int64_t num_hidden_layers = 2;
  int64_t num_attention_heads = 4;
  int64_t num_key_value_heads = 2;
  int64_t head_dim = 16;
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  double initializer_range = 0.02;
  bool tie_word_embeddings = true;
  // What the folder says its weights are ("float32", "bfloat16", "float16"); the weights' own dtypes decide.
  std::string dtype = "float32";
  // Tokens that end a text, as config.json has them; may be empty.
  std::vector<int64_t> eos_token_ids;

  Rotary rotary() const { return {head_dim, rope_theta, max_position_embeddings, rope_scaling}; }
};

// The sizes, for a configuration that starts a model from nothing (pretrain).
void describe(base::FieldVisitor& visitor, ModelConfig& config);

// Where the sizes do not fit together, or make a model beyond all memories.
void check(base::ConfigProblems& problems, const ModelConfig& config);

// The weights of such a model, each counted once.
double num_parameters(const ModelConfig& config);

// Parses the text of a config.json of transformers 4 or 5. `where` names its origin in messages.
// Throws DataError, naming the key, where a key is missing, mistyped, out of range or asks for what is not supported.
ModelConfig parse_model_config(std::string_view json_text, const std::string& where);

// Reads FOLDER/config.json. Throws FileError or DataError.
ModelConfig load_model_config(const std::filesystem::path& folder);

// The text of a config.json that transformers 4 and 5 read.
std::string to_json(const ModelConfig& config);

}  // namespace rosa::models
