// Low-rank adaptation of projections: its start, its gradients, and what is written of it.
#include "models/low_rank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "models/export.h"
#include "models/generator.h"
#include "models/safetensors_weights.h"
#include "tests/models/tiny_model.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace rosa::models {
namespace {

constexpr int64_t kRank = 3;
constexpr double kAlpha = 5.0;

std::vector<std::string> all_projections() {
  std::vector<std::string> names;
  for (const auto& [name, shape] : parameter_shapes(tiny_config())) {
    if (is_projection(name)) names.push_back(name);
  }
  return names;
}

class LowRankTest : public ::testing::Test {
 protected:
  // Its symbols are made of the embedding alone: no rounding of what is tested flips one.
  static AdapterSet first_layer_adapters() {
    AdapterConfig config = lively_adapter_config();
    config.layers = {0};
    return AdapterSet(config, tiny_config(), 12);
  }
  ForwardOptions options() const {
    ForwardOptions options;
    options.sliding_window = 7;
    options.adapters = &adapters_;
    options.executor = &executor_;
    return options;
  }
  // Gives the adapters pairs on every projection that change the output.
  void adapt() {
    adapters_.set_low_rank(LowRank(tiny_config(), all_projections(), kRank, kAlpha, 4));
    stir(*adapters_.low_rank());
  }
  static void stir(LowRank& low_rank) {
    const at::NoGradGuard no_gradient;
    at::manual_seed(8);
    for (auto& [name, tensor] : low_rank.parameters()) {
      if (name.ends_with("lora_B")) tensor.normal_(0, 0.1);
    }
  }
  std::map<std::string, at::Tensor> gradients(const CausalModel& model, const ForwardOptions& with) {
    LowRank& low_rank = *adapters_.low_rank();
    std::vector<at::Tensor> inputs;
    for (const auto& [name, tensor] : low_rank.parameters()) inputs.push_back(tensor);
    const at::Tensor hidden = model.hidden_states(ids_, with);
    at::manual_seed(5);
    const auto found = torch::autograd::grad({(hidden * at::randn_like(hidden)).sum()}, inputs);
    std::map<std::string, at::Tensor> result;
    for (const auto& [name, tensor] : low_rank.parameters()) result[name] = found[result.size()];
    return result;
  }

  CausalModel model_ = CausalModel::random(tiny_config(), 11);
  AdapterSet adapters_ = first_layer_adapters();
  mutable HostExecutor executor_{2};
  at::Tensor ids_ = random_ids(2, 30, 61);
};

TEST_F(LowRankTest, StartsAsNothingAndAlikeWhateverIsBesideIt) {
  const at::Tensor before = model_.hidden_states(ids_, options());
  LowRank all(tiny_config(), all_projections(), kRank, kAlpha, 4);
  const LowRank one(tiny_config(), {"model.layers.2.mlp.up_proj.weight"}, kRank, kAlpha, 4);
  const LowRank other_seed(tiny_config(), all_projections(), kRank, kAlpha, 5);
  ASSERT_EQ(one.parameters().size(), 2U);
  for (const auto& [name, tensor] : one.parameters()) EXPECT_TRUE(tensor.equal(all.parameters().at(name))) << name;
  std::set<float> starts;
  for (const auto& [name, tensor] : all.parameters()) {
    if (name.ends_with("lora_B")) {
      EXPECT_EQ(tensor.abs().max().item<float>(), 0) << name;
      continue;
    }
    // Kaiming's uniform start with a = sqrt(5), as PyTorch's linear layers and PEFT have it.
    const double bound = 1 / std::sqrt(static_cast<double>(tensor.size(1)));
    EXPECT_NEAR(tensor.abs().max().item<double>(), bound, 0.1 * bound) << name;
    EXPECT_FALSE(tensor.equal(other_seed.parameters().at(name))) << name;
    starts.insert(tensor[0][0].item<float>());
  }
  EXPECT_EQ(starts.size(), all_projections().size());
  adapters_.set_low_rank(std::move(all));
  EXPECT_TRUE(model_.hidden_states(ids_, options()).equal(before));
  stir(*adapters_.low_rank());
  EXPECT_FALSE(model_.hidden_states(ids_, options()).equal(before));
  // Without the adapters it is not the student.
  ForwardOptions window;
  window.sliding_window = 7;
  const at::Tensor plain = model_.hidden_states(ids_, window);
  adapters_ = first_layer_adapters();
  EXPECT_TRUE(model_.hidden_states(ids_, window).equal(plain));
  EXPECT_THROW(LowRank(tiny_config(), {"model.norm.weight"}, kRank, kAlpha, 4), base::ArgumentError);
}

TEST_F(LowRankTest, GradientsAreThoseOfTheMergedWeights) {
  adapt();
  const auto own = gradients(model_, options());
  ForwardOptions again = options();
  again.activation_checkpointing = ActivationCheckpointing::full;
  for (const auto& [name, gradient] : gradients(model_, again)) EXPECT_TRUE(gradient.equal(own.at(name))) << name;

  std::map<std::string, at::Tensor> merged = model_.parameters();
  const auto& pairs = adapters_.low_rank()->parameters();
  for (const std::string& name : all_projections()) {
    const std::string of = name.substr(0, name.size() - std::string(".weight").size());
    merged[name] = merged.at(name) + kAlpha / kRank * at::mm(pairs.at(of + ".lora_B"), pairs.at(of + ".lora_A"));
  }
  const CausalModel as_one(tiny_config(), merged);
  const AdapterSet plain = first_layer_adapters();
  ForwardOptions without = options();
  without.adapters = &plain;
  testing::expect_close(model_.hidden_states(ids_, options()), as_one.hidden_states(ids_, without), 1e-4, "forward");
  for (const auto& [name, gradient] : gradients(as_one, without)) {
    const double scale = gradient.abs().max().item<double>();
    ASSERT_GT(scale, 1e-3) << name;
    testing::expect_close(own.at(name) / scale, gradient / scale, 2e-4, name);
  }
}

TEST_F(LowRankTest, IsWrittenMergedOrApart) {
  adapt();
  const testing::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "merged");
  std::filesystem::create_directory(folder / "apart");
  StudentExport settings{.sliding_window = 7, .dtype = "bfloat16", .base_folder = {}};
  export_student(model_, adapters_, settings, folder / "merged");
  settings.dtype = "float32";
  settings.merge_low_rank = false;
  export_student(model_, adapters_, settings, folder / "apart");
  export_low_rank(*adapters_.low_rank(), folder / "apart" / "lora");
  const TensorMap merged = read_tensors(folder / "merged" / "model.safetensors");
  const TensorMap apart = read_tensors(folder / "apart" / "model.safetensors");
  const TensorMap pairs = read_tensors(folder / "apart" / "lora" / "adapter_model.safetensors");
  EXPECT_EQ(pairs.size(), 2 * all_projections().size());
  const nlohmann::json json = base::read_json(folder / "apart" / "lora" / "adapter_config.json", 1 << 20);
  EXPECT_EQ(json.at("peft_type"), "LORA");
  EXPECT_EQ(json.at("r"), kRank);
  EXPECT_EQ(json.at("lora_alpha"), kAlpha);
  EXPECT_EQ(json.at("target_modules").size(), all_projections().size());
  EXPECT_THAT(json.at("target_modules"), ::testing::Contains("model.layers.1.mlp.up_proj"));
  for (const std::string& name : all_projections()) {
    const at::Tensor& weight = model_.parameters().at(name);
    EXPECT_TRUE(apart.at(name).equal(weight)) << name;
    const std::string of = "base_model.model." + name.substr(0, name.size() - std::string(".weight").size());
    const at::Tensor product =
        at::mm(pairs.at(of + ".lora_B.weight").to(at::kDouble), pairs.at(of + ".lora_A.weight").to(at::kDouble));
    const at::Tensor exact = weight.to(at::kDouble) + kAlpha / kRank * product;
    // Half a unit in the last place of the 8 bits of bfloat16: it was rounded once.
    const at::Tensor allowed = exact.abs() * std::ldexp(1.001, -8) + 1e-7;
    EXPECT_TRUE(((merged.at(name).to(at::kDouble) - exact).abs() <= allowed).all().item<bool>()) << name;
  }
  const std::string norm = "model.norm.weight";
  EXPECT_TRUE(merged.at(norm).equal(model_.parameters().at(norm)));
}

TEST_F(LowRankTest, ASavedTextBelongsToIt) {
  adapt();
  Generator generator(model_, options(), 1);
  generator.append(random_ids(1, 20, 61));
  const std::vector<std::byte> bytes = generator.save();
  EXPECT_NO_THROW(Generator::load(bytes, model_, options()));
  AdapterSet other = first_layer_adapters();
  ForwardOptions without = options();
  without.adapters = &other;
  EXPECT_THROW(Generator::load(bytes, model_, without), OtherWeightsError);
  other.set_low_rank(LowRank(tiny_config(), all_projections(), kRank, 2 * kAlpha, 4));
  stir(*other.low_rank());
  EXPECT_THROW(Generator::load(bytes, model_, without), OtherWeightsError);
}

}  // namespace
}  // namespace rosa::models
