// Model folders: what is written is read again, and every kind of damage is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/export.h"
#include "models/safetensors_weights.h"
#include "tests/models/tiny_model.h"
#include "tests/support/temporary_folder.h"

namespace rosa::models {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kQueryWeight = "model.layers.1.self_attn.q_proj.weight";

void write_text(const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; }

std::string refusal(const std::filesystem::path& folder) {
  try {
    CausalModel::load(folder);
    return "";
  } catch (const base::DataError& error) {
    return error.what();
  }
}

class ModelFolder : public ::testing::Test {
 protected:
  void write(const TensorMap& tensors, bool tied = true) {
    ModelConfig config = tiny_config();
    config.tie_word_embeddings = tied;
    write_text(folder_ / "config.json", to_json(config));
    write_tensors(folder_ / "model.safetensors", tensors);
  }

  // Two shards, and an index that says so; `change` may spoil the index.
  void write_shards(const TensorMap& tensors, const std::function<void(nlohmann::json&)>& change = {}) {
    write_text(folder_ / "config.json", to_json(tiny_config()));
    TensorMap shards[2];
    nlohmann::json map;
    int64_t count = 0;
    for (const auto& [name, tensor] : tensors) {
      shards[count % 2][name] = tensor;
      map[name] = base::concat("part-", count++ % 2, ".safetensors");
    }
    if (change) change(map);
    for (int64_t i = 0; i < 2; ++i) write_tensors(folder_ / base::concat("part-", i, ".safetensors"), shards[i]);
    write_text(folder_ / "model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
  }

  TensorMap weights() const { return CausalModel::random(tiny_config(), 3).parameters(); }

  testing::TemporaryFolder folder_;
};

TEST_F(ModelFolder, ExportedAndLoadedIsTheSame) {
  for (const bool tied : {true, false}) {
    ModelConfig config = tiny_config();
    config.tie_word_embeddings = tied;
    const CausalModel model = CausalModel::random(config, 3);
    export_model(model, folder_ / "model");
    const CausalModel again = CausalModel::load(folder_ / "model");
    EXPECT_EQ(to_json(again.config()), to_json(config));
    ASSERT_EQ(again.parameters().size(), model.parameters().size());
    for (const auto& [name, tensor] : model.parameters()) EXPECT_TRUE(tensor.equal(again.parameters().at(name)));
  }
}

TEST_F(ModelFolder, WeightsAreConvertedToTheComputeDtype) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    TensorMap tensors = weights();
    for (auto& [name, tensor] : tensors) tensor = tensor.to(dtype);
    write(tensors);
    for (const char* name : {"float32", "bfloat16", "float16"}) {
      const CausalModel model = CausalModel::load(folder_.path(), name);
      const at::ScalarType wanted = compute_dtype_of_name(name);
      EXPECT_TRUE(model.parameters().at(kQueryWeight).equal(tensors.at(kQueryWeight).to(wanted)));
      EXPECT_EQ(model.parameters().at(kQueryWeight).scalar_type(), wanted);
    }
  }
  EXPECT_THROW(CausalModel::load(folder_.path(), "int8"), base::ConfigError);
}

TEST_F(ModelFolder, ShardsAreReadThroughTheIndex) {
  write_shards(weights());
  const CausalModel model = CausalModel::load(folder_.path());
  EXPECT_TRUE(model.parameters().at(kQueryWeight).equal(weights().at(kQueryWeight)));
}

TEST_F(ModelFolder, MissingUnexpectedAndMisshapenTensorsAreNamed) {
  TensorMap tensors = weights();
  tensors.erase(kQueryWeight);
  tensors["model.layers.1.self_attn.q_proj.bias"] = at::zeros({4});
  tensors["model.norm.weight"] = at::ones({47});
  write(tensors);
  EXPECT_THAT(refusal(folder_.path()),
              AllOf(HasSubstr(std::string("missing tensors: ") + kQueryWeight), HasSubstr("q_proj.bias"),
                    HasSubstr("model.norm.weight is [47], expected [48]")));
  tensors = weights();
  tensors["model.norm.weight"] = at::ones({48}, at::kDouble);
  EXPECT_THROW(
      {
        write(tensors);
        CausalModel::load(folder_.path());
      },
      base::Error);
}

TEST_F(ModelFolder, AStoredTiedHeadMustBeTheEmbedding) {
  TensorMap tensors = weights();
  tensors["lm_head.weight"] = tensors.at("model.embed_tokens.weight").clone();
  write(tensors);
  EXPECT_EQ(refusal(folder_.path()), "");
  tensors["lm_head.weight"][0][0] += 1;
  write(tensors);
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("lm_head.weight"));
  write(weights(), /*tied=*/false);
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("missing tensors: lm_head.weight"));
}

TEST_F(ModelFolder, SpoiledIndexesAreRefused) {
  const auto spoiled = [&](const std::function<void(nlohmann::json&)>& change) {
    write_shards(weights(), change);
    return refusal(folder_.path());
  };
  EXPECT_THAT(spoiled([](nlohmann::json& map) { map.erase(kQueryWeight); }), HasSubstr(kQueryWeight));
  EXPECT_THAT(spoiled([](nlohmann::json& map) { map["extra.weight"] = "part-0.safetensors"; }),
              HasSubstr("extra.weight"));
  EXPECT_THAT(spoiled([](nlohmann::json& map) {
                map[kQueryWeight] =
                    map[kQueryWeight] == "part-0.safetensors" ? "part-1.safetensors" : "part-0.safetensors";
              }),
              HasSubstr(kQueryWeight));
  for (const char* outside : {"../part-0.safetensors", "/etc/passwd", "", "..", "a/b"}) {
    EXPECT_THAT(spoiled([&](nlohmann::json& map) { map[kQueryWeight] = outside; }), HasSubstr("same folder"))
        << outside;
  }
  EXPECT_THAT(spoiled([](nlohmann::json& map) { map[kQueryWeight] = 3; }), HasSubstr(kQueryWeight));
  write_text(folder_ / "model.safetensors.index.json", "{\"weight_map\": [1]}");
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("weight_map"));
  write_shards(weights(), [](nlohmann::json& map) { map[kQueryWeight] = "absent.safetensors"; });
  EXPECT_THROW(CausalModel::load(folder_.path()), base::Error);
}

TEST_F(ModelFolder, LayersThatTheFilesCantHoldAreRefusedBeforeMemoryIsTaken) {
  write(weights());
  ModelConfig config = tiny_config();
  config.num_hidden_layers = 4096;
  write_text(folder_ / "config.json", to_json(config));
  EXPECT_THAT(refusal(folder_.path()), AllOf(HasSubstr("config.json: num_hidden_layers is 4096"),
                                             HasSubstr(base::concat("only ", weights().size(), " tensors"))));
  config.num_hidden_layers = (int64_t{1} << 31) - 1;
  write_text(folder_ / "config.json", to_json(config));
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("num_hidden_layers: is 2147483647, expected at most 4096"));
}

TEST_F(ModelFolder, MissingShardsAreNamedWithTheirIndex) {
  write_shards(weights());
  std::filesystem::remove(folder_ / "part-0.safetensors");
  std::filesystem::remove(folder_ / "part-1.safetensors");
  EXPECT_THAT(refusal(folder_.path()), AllOf(HasSubstr("model.safetensors.index.json: lists 2 files of weights"),
                                             HasSubstr("part-0.safetensors, part-1.safetensors")));
}

TEST_F(ModelFolder, ADtypeThatIsNotSupportedIsNamedWithFileAndTensor) {
  TensorMap tensors = weights();
  tensors["model.norm.weight"] = at::ones(tensors.at("model.norm.weight").sizes(), at::kDouble);
  write(tensors);
  EXPECT_THAT(refusal(folder_.path()),
              HasSubstr("model.safetensors: tensor 'model.norm.weight' has dtype F64, which is not supported"));
}

TEST_F(ModelFolder, TruncatedAndEmptyFoldersAreRefused) {
  EXPECT_THROW(CausalModel::load(folder_ / "absent"), base::FileError);
  write(weights());
  std::filesystem::resize_file(folder_ / "model.safetensors",
                               std::filesystem::file_size(folder_ / "model.safetensors") - 1);
  EXPECT_NE(refusal(folder_.path()), "");
  std::filesystem::remove(folder_ / "model.safetensors");
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("neither model.safetensors"));
}

}  // namespace
}  // namespace rosa::models
