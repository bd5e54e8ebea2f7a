#include "models/export.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "models/python_files.h"
#include "models/safetensors_weights.h"

namespace rosa::models {

namespace fs = std::filesystem;

std::string python_file(std::string_view part, const FamilyTraits& family) {
  return base::concat(part, '_', family.model_type, "_rosa.py");
}

void export_model(const CausalModel& model, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  base::require<base::FileError>(!error, "can't make folder ", folder.string(), ": ", error.message());
  ModelConfig config = model.config();
  const at::ScalarType dtype = model.compute_options().dtype().toScalarType();
  config.dtype = dtype == at::kBFloat16 ? "bfloat16" : dtype == at::kHalf ? "float16" : "float32";
  write_tensors(folder / "model.safetensors", model.parameters());
  base::write_file_atomically(folder / "config.json", to_json(config));
}

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxConfigBytes = 1 << 20;

// One file of weights: names, and what they take.
struct Shard {
  std::vector<std::string> names;
  int64_t num_bytes = 0;
};

// A weight, and the dtype it is written in.
struct Weight {
  at::Tensor tensor;
  at::ScalarType dtype;

  int64_t num_bytes() const { return tensor.numel() * static_cast<int64_t>(c10::elementSize(dtype)); }
};

std::vector<Shard> into_shards(const std::map<std::string, Weight>& weights, int64_t max_bytes) {
  std::vector<Shard> shards(1);
  for (const auto& [name, weight] : weights) {
    if (!shards.back().names.empty() && shards.back().num_bytes + weight.num_bytes() > max_bytes) shards.emplace_back();
    shards.back().names.push_back(name);
    shards.back().num_bytes += weight.num_bytes();
  }
  return shards;
}

std::string shard_name(size_t number, size_t count) {
  if (count == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", number + 1, count);
  return name;
}

// `low_rank`: what is added to the weights it is for; null: nothing.
void write_weights(const std::map<std::string, Weight>& weights, const LowRank* low_rank, int64_t max_bytes,
                   const fs::path& folder) {
  const std::vector<Shard> shards = into_shards(weights, max_bytes);
  Json places = Json::object();
  int64_t num_bytes = 0;
  for (size_t number = 0; number < shards.size(); ++number) {
    const std::string file = shard_name(number, shards.size());
    TensorMap tensors;
    for (const std::string& name : shards[number].names) {
      const Weight& weight = weights.at(name);
      const at::Tensor values =
          low_rank != nullptr ? low_rank->merged(name, weight.tensor) : weight.tensor.detach().to(at::kCPU);
      tensors[name] = values.to(weight.dtype);
      places[name] = file;
    }
    write_tensors(folder / file, tensors);
    num_bytes += shards[number].num_bytes;
  }
  if (shards.size() == 1) return;
  const Json index = {{"metadata", {{"total_size", num_bytes}}}, {"weight_map", places}};
  base::write_file_atomically(folder / "model.safetensors.index.json", index.dump(2) + "\n");
}

// What the Python configuration reads of an adapter.
void put_adapter_settings(Json& json, const AdapterConfig& config, const StudentExport& settings) {
  base::require<base::ConfigError>(!config.limit_to_window,
                                   "adapters with limit_to_window are a control: there is no export of them");
  json["sliding_window"] = settings.sliding_window;
  if (!settings.layer_windows.empty()) json["rosa_layer_windows"] = settings.layer_windows;
  if (settings.sink_tokens > 0) json["rosa_sink_tokens"] = settings.sink_tokens;
  json["rosa_layers"] = config.layers;
  json["rosa_num_heads"] = config.num_heads;
  json["rosa_num_key_value_heads"] = config.num_key_value_heads;
  json["rosa_query_key_bits"] = config.query_key_bits;
  json["rosa_value_bits"] = config.value_bits;
  json["rosa_bias"] = config.bias;
  json["rosa_no_match_embedding"] = config.no_match_embedding;
  json["rosa_place"] = config.place == AdapterPlace::mlp ? "mlp" : "attention";
  json["rosa_gates"] = config.gates;
  json["rosa_agreement"] = config.agreement == Agreement::full ? "full" : "tied";
  json["rosa_mixed_queries"] = config.mixed_queries;
  json["rosa_candidates"] = config.candidates == Candidates::mean ? "mean" : "latest";
  json["rosa_output_scale"] = config.output_scale;
}

}  // namespace

std::string exported_form(const base::JsonFields& config) {
  AdapterConfig form;
  use_plain_form(form);
  if (config.text("rosa_place").value_or("attention") == "mlp") form.place = AdapterPlace::mlp;
  if (config.text("rosa_candidates").value_or("latest") == "mean") form.candidates = Candidates::mean;
  form.mixed_queries = config.boolean("rosa_mixed_queries").value_or(false);
  form.output_scale = config.number("rosa_output_scale").value_or(1.0);
  return adapter_form(form);
}

namespace {

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The Python files of models/python/ are Qwen3's. The other families' are the same with their own names.
void write_python_files(ModelFamily family, const fs::path& folder) {
  const FamilyTraits &own = traits(family), &qwen3 = traits(ModelFamily::qwen3);
  const auto write = [&](const char* part, std::string_view source) {
    const std::string text = replaced(std::string(source), qwen3.class_prefix, own.class_prefix);
    base::write_file_atomically(folder / python_file(part, own), replaced(text, qwen3.model_type, own.model_type));
  };
  write("configuration", kConfigurationSource);
  write("modeling", kModelingSource);
}

std::string student_config(const ModelConfig& model, const AdapterConfig& adapters, const StudentExport& settings) {
  ModelConfig config = model;
  config.dtype = settings.dtype;
  Json json = base::parse_json<base::DataError, Json>(to_json(config), "config.json");
  const std::string type = base::concat(traits(model.family).model_type, "_rosa");
  const std::string name = base::concat(traits(model.family).class_prefix, "Rosa");
  json["architectures"] = {name + "ForCausalLM"};
  json["model_type"] = type;
  json["auto_map"] = {{"AutoConfig", base::concat("configuration_", type, ".", name, "Config")},
                      {"AutoModelForCausalLM", base::concat("modeling_", type, ".", name, "ForCausalLM")}};
  json["dtype"] = settings.dtype;  // version 5; torch_dtype is version 4's
  json["use_sliding_window"] = true;
  std::vector<std::string> layer_types(static_cast<size_t>(model.num_hidden_layers), "sliding_attention");
  for (size_t layer = 0; layer < settings.layer_windows.size(); ++layer) {
    if (settings.layer_windows[layer] == 0) layer_types[layer] = "full_attention";
  }
  json["layer_types"] = layer_types;
  put_adapter_settings(json, adapters, settings);
  if (!settings.base_folder.empty()) {
    const Json base = base::read_json<base::DataError, Json>(settings.base_folder / "config.json", kMaxConfigBytes);
    for (const char* key : {"bos_token_id", "pad_token_id"}) {
      const auto found = base.find(key);
      if (found != base.end() && found->is_number_integer()) json[key] = *found;
    }
  }
  return json.dump(2) + "\n";
}

}  // namespace

void export_student(const CausalModel& model, const AdapterSet& adapters, const StudentExport& settings,
                    const fs::path& folder) {
  const at::ScalarType dtype = compute_dtype_of_name(settings.dtype);
  std::map<std::string, Weight> weights;
  for (const auto& [name, tensor] : model.parameters()) weights[name] = {tensor, dtype};
  for (const auto& [name, tensor] : adapters.parameters()) weights[name] = {tensor, at::kFloat};
  write_weights(weights, settings.merge_low_rank ? adapters.low_rank() : nullptr, settings.max_shard_bytes, folder);
  write_python_files(model.config().family, folder);
  base::write_file_atomically(folder / "config.json", student_config(model.config(), adapters.config(), settings));
}

void export_adapter(ModelFamily family, const AdapterSet& adapters, const StudentExport& settings,
                    const fs::path& folder) {
  adapters.save(folder / "adapter.safetensors");
  write_python_files(family, folder);
  Json json;
  json["rosa_adapter"] = 1;
  json["base_model_name_or_path"] = settings.base_folder.string();
  put_adapter_settings(json, adapters.config(), settings);
  base::write_file_atomically(folder / kAdapterConfigFile, json.dump(2) + "\n");
}

void export_low_rank(const LowRank& low_rank, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  base::require<base::FileError>(!error, "can't make folder ", folder.string(), ": ", error.message());
  TensorMap tensors;
  Json modules = Json::array();
  for (const auto& [name, tensor] : low_rank.parameters()) {
    tensors["base_model.model." + name + ".weight"] = tensor.detach().to(at::kCPU);
    if (name.ends_with(".lora_A")) modules.push_back(name.substr(0, name.rfind('.')));
  }
  write_tensors(folder / "adapter_model.safetensors", tensors);
  // Whole names of modules: the ROSA adapters have projections that are called the same.
  const Json json = {{"peft_type", "LORA"},      {"task_type", "CAUSAL_LM"}, {"base_model_name_or_path", nullptr},
                     {"inference_mode", true},   {"r", low_rank.rank()},     {"lora_alpha", low_rank.alpha()},
                     {"lora_dropout", 0.0},      {"bias", "none"},           {"fan_in_fan_out", false},
                     {"target_modules", modules}};
  base::write_file_atomically(folder / kAdapterConfigFile, json.dump(2) + "\n");
}

}  // namespace rosa::models
