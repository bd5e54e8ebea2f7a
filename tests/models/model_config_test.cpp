// config.json of transformers 4 and 5, and everything in it that must be refused.
#include "models/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace rosa::models {
namespace {

using nlohmann::json;

json version_4() {
  return json::parse(R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 151643, "eos_token_id": [11, 7], "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
    "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28,
    "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": true,
    "use_sliding_window": false, "vocab_size": 151936})");
}

json version_5() {
  json config = version_4();
  config.erase("rope_theta");
  config.erase("rope_scaling");
  config.erase("torch_dtype");
  config["dtype"] = "bfloat16";
  config["rope_parameters"] = {{"rope_theta", 1000000.0}, {"rope_type", "default"}};
  config["layer_types"] = std::vector<std::string>(28, "full_attention");
  return config;
}

// The message with which `config` is refused, or "" where it is not.
std::string refusal(const json& config) {
  try {
    parse_model_config(config.dump(), "config.json");
    return "";
  } catch (const base::DataError& error) {
    return error.what();
  }
}

TEST(ModelConfig, Version4And5SayTheSame) {
  for (const json& text : {version_4(), version_5()}) {
    const ModelConfig config = parse_model_config(text.dump(), "config.json");
    EXPECT_EQ(config.vocab_size, 151936);
    EXPECT_EQ(config.hidden_size, 1024);
    EXPECT_EQ(config.intermediate_size, 3072);
    EXPECT_EQ(config.num_hidden_layers, 28);
    EXPECT_EQ(config.num_attention_heads, 16);
    EXPECT_EQ(config.num_key_value_heads, 8);
    EXPECT_EQ(config.head_dim, 128);
    EXPECT_EQ(config.max_position_embeddings, 40960);
    EXPECT_EQ(config.rms_norm_eps, 1e-6);
    EXPECT_EQ(config.rope_theta, 1e6);
    EXPECT_TRUE(config.tie_word_embeddings);
    EXPECT_EQ(config.dtype, "bfloat16");
    EXPECT_THAT(config.eos_token_ids, ::testing::ElementsAre(11, 7));
  }
}

TEST(ModelConfig, WhatIsNotSupportedIsRefusedByName) {
  const std::vector<std::tuple<std::string, json, std::string>> cases = {
      {"model_type", "qwen3_moe", "model_type"},
      {"model_type", "mistral", "model_type"},
      {"model_type", "llama", "architectures"},
      {"architectures", {"Qwen3ForSequenceClassification"}, "architectures"},
      {"hidden_act", "gelu", "hidden_act"},
      {"attention_bias", true, "attention_bias"},
      {"attention_dropout", 0.1, "attention_dropout"},
      {"use_sliding_window", true, "use_sliding_window"},
      {"rope_scaling", {{"rope_type", "longrope"}, {"factor", 4.0}}, "rope_type"},
      {"rope_scaling", {{"rope_type", "yarn"}}, "factor"},
      {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 0.5}}, "rope_scaling"},
      {"rope_scaling", {{"rope_type", "yarn"}, {"factor", "4"}}, "factor"},
      {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}, {"short_factor", 1.0}}, "short_factor"},
      {"rope_scaling", {{"type", "linear"}, {"factor", 2.0}, {"beta_fast", 2.0}}, "beta_fast"},
      {"rope_scaling",
       {{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 4.0}, {"high_freq_factor", 1.0}},
       "high_freq_factor"},
      {"rope_scaling", {{"factor", 2.0}}, "factor"},
      {"rope_scaling", "yarn", "rope_scaling"},
      {"rope_parameters", {{"rope_type", "llama3"}, {"rope_theta", 1e6}}, "factor"},
      {"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}, "partial_rotary_factor"},
      {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e4}}, "rope_theta"},
      {"partial_rotary_factor", 0.25, "partial_rotary_factor"},
      {"layer_types", std::vector<std::string>(28, "sliding_attention"), "layer_types"},
      {"layer_types", {"full_attention"}, "layer_types"},
      {"quantization_config", {{"quant_method", "gptq"}}, "quantization_config"},
      {"num_experts", 8, "num_experts"},
      {"torch_dtype", "float64", "torch_dtype"},
      {"eos_token_id", 151936, "eos_token_id"},
      {"vocab_size", 0, "vocab_size"},
      {"vocab_size", -5, "vocab_size"},
      {"vocab_size", 1e30, "vocab_size"},
      {"hidden_size", "1024", "hidden_size"},
      {"hidden_size", 1024.5, "hidden_size"},
      {"num_hidden_layers", nullptr, "num_hidden_layers"},
      {"num_key_value_heads", 3, "num_key_value_heads"},
      {"head_dim", 33, "head_dim"},
      {"rms_norm_eps", -1, "rms_norm_eps"},
      {"rope_theta", 0, "rope_theta"},
      {"tie_word_embeddings", "yes", "tie_word_embeddings"},
  };
  for (const auto& [key, value, named] : cases) {
    json config = version_4();
    config[key] = value;
    const std::string message = refusal(config);
    EXPECT_THAT(message, ::testing::HasSubstr(named)) << key << " = " << value;
    EXPECT_THAT(message, ::testing::HasSubstr("config.json")) << key;
  }
}

TEST(ModelConfig, MissingKeysAreNamed) {
  for (const char* key : {"model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "num_key_value_heads", "rope_theta"}) {
    json config = version_4();
    config.erase(key);
    EXPECT_THAT(refusal(config), ::testing::HasSubstr(key));
  }
  EXPECT_NE(refusal(json::array()), "");
  EXPECT_THROW(parse_model_config("{\"vocab_size\":", "x"), base::DataError);
  EXPECT_THROW(parse_model_config("", "x"), base::DataError);
}

TEST(ModelConfig, DamagedAndHostileTextIsRefusedWithItsPlace) {
  const auto refusal_of = [](const std::string& text) -> std::string {
    try {
      parse_model_config(text, "config.json");
      return "";
    } catch (const base::DataError& error) {
      return error.what();
    }
  };
  EXPECT_THAT(refusal_of("{\n \"vocab_size\": 211,,\n}"), ::testing::StartsWith("config.json:2:20: no valid JSON"));
  EXPECT_THAT(refusal_of("{\"model_type\": " + std::string(300'000, '[') + std::string(300'000, ']') + "}"),
              ::testing::HasSubstr("nested deeper"));
  json config = version_4();
  config["model_type"] = std::string(100'000, 'x');
  EXPECT_LT(refusal(config).size(), 500u);
  config["model_type"] = "\x1b[2J\n\xe2\x80\xae";
  EXPECT_EQ(refusal(config).find_first_of("\x1b\n\xe2"), std::string::npos);
}

TEST(ModelConfig, HarmlessKeysAreAccepted) {
  json config = version_4();
  config["rope_scaling"] = {{"rope_type", "default"}};
  config["sliding_window"] = 4096;  // without use_sliding_window it means nothing
  config["some_new_key"] = 1;
  config["num_key_value_heads"] = nullptr;
  EXPECT_EQ(refusal(config), "");
  EXPECT_EQ(parse_model_config(config.dump(), "x").num_key_value_heads, 16);
}

// As the files of Qwen2.5-0.5B, Llama-3.2-1B and Llama 2 have them.
TEST(ModelConfig, OtherFamilies) {
  const ModelConfig qwen2 = parse_model_config(R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
    "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896,
    "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
    "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
    "torch_dtype": "bfloat16", "use_cache": true, "use_mrope": false, "use_sliding_window": false,
    "vocab_size": 151936})",
                                               "qwen2");
  EXPECT_EQ(qwen2.family, ModelFamily::qwen2);
  EXPECT_EQ(qwen2.head_dim, 64);
  EXPECT_EQ(num_parameters(qwen2), 494'032'768);

  const ModelConfig llama = parse_model_config(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64,
    "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
    "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 128256})",
                                               "llama");
  EXPECT_EQ(llama.family, ModelFamily::llama);
  EXPECT_EQ(num_parameters(llama), 1'235'814'400);
  EXPECT_EQ(llama.rope_scaling.type, RopeType::llama3);
  EXPECT_EQ(llama.rope_scaling.factor, 32);
  EXPECT_EQ(llama.rope_scaling.original_max_position_embeddings, 8192);
  EXPECT_EQ(parse_model_config(to_json(llama), "again").rope_scaling, llama.rope_scaling);

  // Old files know neither grouped heads nor theta.
  const ModelConfig old = parse_model_config(R"({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 11008, "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 32, "rms_norm_eps": 1e-06, "vocab_size": 32000})",
                                             "old");
  EXPECT_EQ(old.num_key_value_heads, 32);
  EXPECT_EQ(old.head_dim, 128);
  EXPECT_EQ(old.rope_theta, 10000);
}

TEST(ModelConfig, WrittenAndReadIsTheSame) {
  ModelConfig config = parse_model_config(version_5().dump(), "x");
  config.tie_word_embeddings = false;
  const std::string text = to_json(config);
  const ModelConfig again = parse_model_config(text, "x");
  EXPECT_EQ(to_json(again), text);
  EXPECT_EQ(again.head_dim, 128);
  EXPECT_FALSE(again.tie_word_embeddings);
}

}  // namespace
}  // namespace rosa::models
