// Adapters: how they start, what their files hold, and which configurations and files are refused.
#include "models/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/safetensors.h"
#include "models/export.h"
#include "models/generator.h"
#include "models/safetensors_weights.h"
#include "tests/models/tiny_model.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace rosa::models {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPrefix = "model.layers.1.self_attn.rosa_attn.";

const at::Tensor& parameter(const AdapterSet& adapters, const std::string& name) {
  return adapters.parameters().at(kPrefix + name);
}

template <class ErrorType, class Action>
std::string refusal(const Action& action) {
  try {
    action();
    return "";
  } catch (const ErrorType& error) {
    return error.what();
  }
}

TEST(AdapterSet, StartsAsPyTorchWouldAndByTheSeedAlone) {
  AdapterConfig config = rosa_soft_adapter_config();
  config.bias = true;
  const AdapterSet adapters(config, tiny_config(), 1);
  const AdapterSet again(config, tiny_config(), 1);
  const AdapterSet other(config, tiny_config(), 2);
  EXPECT_EQ(adapters.parameters().size(), 3u * 10u);
  for (const auto& [name, tensor] : adapters.parameters()) {
    EXPECT_TRUE(tensor.requires_grad()) << name;
    EXPECT_TRUE(tensor.equal(again.parameters().at(name))) << name;
    if (name.find("v_emb") != std::string::npos) continue;
    EXPECT_FALSE(tensor.equal(other.parameters().at(name))) << name;
    const double bound = 1 / std::sqrt(48.0);  // every projection here has 48 inputs
    EXPECT_LE(tensor.abs().max().item<double>(), bound) << name;
    EXPECT_GT(tensor.abs().max().item<double>(), 0.9 * bound) << name;
    if (tensor.dim() == 2) {
      EXPECT_NEAR(tensor.std().item<double>(), bound / std::sqrt(3.0), 0.05 * bound) << name;
    }
  }
  EXPECT_FALSE(parameter(adapters, "q_proj.weight").equal(parameter(adapters, "k_proj.weight")));
  EXPECT_TRUE(parameter(adapters, "v_emb0").equal(at::full({48}, -1e-5, at::kFloat)));
  EXPECT_TRUE(parameter(adapters, "v_emb1").equal(at::full({48}, 1e-5, at::kFloat)));
}

TEST(AdapterSet, StartOptions) {
  AdapterConfig config = lively_adapter_config();
  config.bias = true;
  config.value_bits = 4;
  config.tie_start = "query_key_value";
  config.zero_output_start = true;
  config.value_embedding_scale = 0.5;
  const AdapterSet adapters(config, tiny_config(), 1);
  // Six query heads on three: key/value head g is query head 2g.
  for (const char* kind : {"weight", "bias"}) {
    const at::Tensor query = parameter(adapters, std::string("q_proj.") + kind).view({6, 4, -1});
    for (const char* name : {"k_proj.", "v_proj."}) {
      const at::Tensor tied = parameter(adapters, std::string(name) + kind).view({3, 4, -1});
      for (int64_t head = 0; head < 3; ++head) EXPECT_TRUE(tied[head].equal(query[2 * head]));
    }
    EXPECT_EQ(parameter(adapters, std::string("o_proj.") + kind).abs().max().item<float>(), 0);
  }
  EXPECT_TRUE(parameter(adapters, "v_emb0").equal(at::full({24}, -0.5, at::kFloat)));
  EXPECT_TRUE(parameter(adapters, "v_emb_no_match").equal(at::zeros({24})));
}

TEST(AdapterSet, DefaultSizesAndRefusedConfigurations) {
  const AdapterConfig resolved = resolve({}, tiny_config());
  EXPECT_EQ(resolved.num_heads, 6);
  EXPECT_EQ(resolved.num_key_value_heads, 6);
  EXPECT_THAT(resolved.layers, ::testing::ElementsAre(0, 1, 2));
  const auto message = [](const std::function<void(AdapterConfig&)>& change) {
    AdapterConfig config = plain_adapter_config();
    change(config);
    return refusal<base::ConfigError>([&] { resolve(config, tiny_config()); });
  };
  EXPECT_THAT(message([](AdapterConfig& config) { config.layers = {0, 4}; }), HasSubstr("before the final norm"));
  EXPECT_THAT(message([](AdapterConfig& config) { config.layers = {1, 1}; }), HasSubstr("twice"));
  EXPECT_THAT(message([](AdapterConfig& config) { config.num_key_value_heads = 4; }), HasSubstr("num_key_value_heads"));
  EXPECT_THAT(message([](AdapterConfig& config) { config.query_key_bits = 64; }), HasSubstr("bits"));
  EXPECT_THAT(message([](AdapterConfig& config) { config.query_key_bits = 7; }), HasSubstr("sufa_head_dim"));
  EXPECT_THAT(message([](AdapterConfig& config) { config.tie_start = "all"; }), HasSubstr("tie_start"));
  EXPECT_THAT(message([](AdapterConfig& config) { config.gates = {"lenght"}; }), HasSubstr("lenght"));
  EXPECT_THAT(message([](AdapterConfig& config) { config.gates = {"hidden", "hidden"}; }), HasSubstr("twice"));
  EXPECT_THAT(message([](AdapterConfig& config) { config.agreement = Agreement::full; }), HasSubstr("agreement gate"));
  EXPECT_THAT(message([](AdapterConfig& config) {
                config.estimator = "tied_flip";
                config.tie_start = "none";
              }),
              HasSubstr("start equal"));
  EXPECT_THAT(message([](AdapterConfig& config) {
                config.estimator = "tied_flip";
                config.num_key_value_heads = 3;
              }),
              HasSubstr("as many key/value heads"));
  EXPECT_THAT(message([](AdapterConfig& config) {
                config.candidates = Candidates::mean;
                config.exact_value_gradient = true;
              }),
              HasSubstr("latest place"));
  EXPECT_THAT(message([](AdapterConfig& config) {
                config.num_key_value_heads = 3;
                config.mixed_queries = true;
              }),
              HasSubstr("mixed_queries"));
  EXPECT_THAT(message([](AdapterConfig& config) {
                config.tie_start = "query_key_value";
                config.value_bits = 4;
              }),
              HasSubstr("query_key_value"));
}

// Each position's x by hand: the retrieved bits, or the third vector where nothing matched.
TEST(AdapterSet, OutputIsMadeOfTheThreeVectors) {
  const AdapterConfig config = resolve(lively_adapter_config(), tiny_config());
  AdapterSet adapters(config, tiny_config(), 3);
  {
    const at::NoGradGuard no_gradient;
    at::manual_seed(5);
    for (const char* name : {"v_emb0", "v_emb1", "v_emb_no_match"}) {
      adapters.parameters().at(std::string(kPrefix) + name).normal_();
    }
  }
  HostExecutor executor(1);
  const at::Tensor normed = at::randn({2, 30, 48});
  AdapterCall call;
  call.executor = &executor;
  call.options = adapters.operator_options({}, 0);
  const at::Tensor actual = adapters.forward(1, normed, call);

  const auto project = [&](const char* name, int64_t heads) {
    return at::linear(normed, parameter(adapters, name)).view({2, 30, heads, -1}).transpose(1, 2);
  };
  const OperatorOutput hard =
      rosa_operator({project("q_proj.weight", 6), project("k_proj.weight", 3), project("v_proj.weight", 3), {}, {}},
                    call.options, executor);
  EXPECT_TRUE(hard.matched.any().item<bool>());
  EXPECT_FALSE(hard.matched.all().item<bool>());
  const auto vector = [&](const char* name) { return parameter(adapters, name).view({1, 6, 1, 3}); };
  at::Tensor x = at::where(hard.bits.gt(0.5), vector("v_emb1"), vector("v_emb0"));
  x = at::where(hard.matched.unsqueeze(3), x, vector("v_emb_no_match"));
  const at::Tensor expected = at::linear(x.transpose(1, 2).reshape({2, 30, 18}), parameter(adapters, "o_proj.weight"));
  testing::expect_close(actual, expected, 1e-6, "adapter");
}

// The definition at the head of adapter.h, a number at a time.
TEST(AdapterSet, GatesAreTheirDefinition) {
  for (const Agreement agreement : {Agreement::tied, Agreement::full}) {
    AdapterConfig config = gated_adapter_config(agreement);
    config.mixed_queries = false;
    AdapterSet adapters(config, tiny_config(), 3);
    HostExecutor executor(1);
    at::manual_seed(5);
    const at::Tensor normed = at::randint(0, 3, {1, 40, 1}).to(at::kFloat) + 0.1 * at::randn({1, 1, 48});
    const at::Tensor u = at::randn({1, 40, 48});
    AdapterCall call;
    call.executor = &executor;
    call.options = adapters.operator_options({}, 0);
    const at::NoGradGuard no_gradient;
    // Fresh gates are all 1, whatever they see: with o_proj at 0 too, training starts at the window student.
    AdapterConfig without = config;
    without.gates = {};
    without.agreement = Agreement::tied;
    AdapterSet plain(without, tiny_config(), 3);
    if (agreement == Agreement::full) {
      EXPECT_TRUE(adapters.begin(1, normed, call)(u).equal(plain.begin(1, normed, call)(u)));
    }
    stir_gates(adapters);
    const at::Tensor actual = adapters.begin(1, normed, call)(u);

    const auto project = [&](const char* name, int64_t heads) {
      return at::linear(normed, parameter(adapters, name)).view({1, 40, heads, -1}).transpose(1, 2);
    };
    const OperatorOutput hard =
        rosa_operator({project("q_proj.weight", 6), project("k_proj.weight", 2), project("v_proj.weight", 2), {}, {}},
                      call.options, executor);
    EXPECT_GT(hard.lengths.max().item<int64_t>(), 4);
    EXPECT_EQ(hard.lengths.min().item<int64_t>(), 0);
    at::Tensor values = at::zeros({1, 40, 18}, at::kDouble);
    const at::Tensor output_matrix = parameter(adapters, "o_proj.weight");
    const auto at_bits = [](const at::Tensor& tensor, int64_t head, int64_t bit) {
      return tensor[3 * head + bit].item<double>();
    };
    for (int64_t t = 0; t < 40; ++t) {
      const at::Tensor seen = u[0][t].to(at::kDouble);
      for (int64_t head = 0; head < 6; ++head) {
        const auto length = hard.lengths[0][head][t].item<int64_t>();
        const int64_t ends[] = {0, 1, 2, 3, 4, 6, 8, 12, 16, 32};
        int64_t bucket = 0;
        while (bucket < 10 && length > ends[bucket]) ++bucket;
        double agrees = 0;
        for (int64_t bit = 0; bit < 3; ++bit) {
          const double sign = length == 0 ? 0 : 2 * hard.bits[0][head][t][bit].item<double>() - 1;
          const at::Tensor direction = agreement == Agreement::full
                                           ? parameter(adapters, "g_bil")[3 * head + bit]
                                           : output_matrix.select(1, 3 * head + bit) * parameter(adapters, "g_dim");
          agrees += sign * direction.to(at::kDouble).dot(seen).item<double>();
        }
        if (agreement == Agreement::tied) agrees *= parameter(adapters, "g_head")[head].item<double>();
        const double z = parameter(adapters, "g_len")[head][bucket].item<double>() +
                         parameter(adapters, "g_hidden")[head].to(at::kDouble).dot(seen).item<double>() + agrees;
        for (int64_t bit = 0; bit < 3; ++bit) {
          const double is_one = hard.bits[0][head][t][bit].item<double>();  // or a mean
          double value = is_one * at_bits(parameter(adapters, "v_emb1"), head, bit) +
                         (1 - is_one) * at_bits(parameter(adapters, "v_emb0"), head, bit);
          if (length == 0) value = at_bits(parameter(adapters, "v_emb_no_match"), head, bit);
          if (agreement == Agreement::full) value += parameter(adapters, "u_len")[head][bucket][bit].item<double>();
          values[0][t][3 * head + bit] = value * 2 / (1 + std::exp(-z));
        }
      }
    }
    const at::Tensor expected = 0.5 * at::linear(values, output_matrix.to(at::kDouble));
    testing::expect_close(actual, expected.to(at::kFloat), 1e-5, "gated adapter");
  }
}

TEST(AdapterSet, HalfOfMixedQueriesSeesTheFirstInput) {
  AdapterConfig config = gated_adapter_config(Agreement::tied);
  config.bias = true;
  AdapterSet adapters(config, tiny_config(), 3);
  HostExecutor executor(1);
  at::manual_seed(5);
  const at::Tensor own = at::randn({1, 4, 48}).repeat({1, 8, 1}), first = at::randn({1, 3, 48}).repeat({1, 12, 1});
  AdapterCall call;
  call.executor = &executor;
  call.options = adapters.operator_options({}, 0);
  call.first_input = first.narrow(1, 0, 32).contiguous();
  const auto bits_of = [&](int64_t layer, const at::Tensor& input, int64_t first_head) {
    HardResult result;
    AdapterCall recorded = call;
    recorded.recorded = &result;
    adapters.begin(layer, input, recorded)(input);
    const at::Tensor both = at::stack({result.lengths.to(at::kLong), result.value_symbols.to(at::kLong)});
    return both.narrow(2, first_head, 3).contiguous();
  };
  const at::Tensor other = at::randn({1, 32, 48});
  // Layer 1: the first half of the heads matches alike whatever the layer's own input is. Layer 0 has only one input.
  EXPECT_TRUE(bits_of(1, own, 0).equal(bits_of(1, other, 0)));
  EXPECT_FALSE(bits_of(1, own, 3).equal(bits_of(1, other, 3)));
  EXPECT_FALSE(bits_of(0, own, 0).equal(bits_of(0, other, 0)));
  call.first_input = at::Tensor();
  EXPECT_THROW(bits_of(1, own, 0), base::ArgumentError);
}

TEST(AdapterSet, QueriesAndKeysCanBeFixedHashes) {
  AdapterConfig config = lively_adapter_config();
  config.query_key_gradient = false;
  config.exact_value_gradient = true;
  const AdapterSet adapters(config, tiny_config(), 3);
  HostExecutor executor(1);
  at::manual_seed(5);
  const at::Tensor normed = at::randn({2, 30, 48}).requires_grad_(true);
  AdapterCall call;
  call.executor = &executor;
  call.options.training = true;
  call.options = adapters.operator_options(call.options, 0);
  adapters.forward(1, normed, call).sum().backward();
  for (const char* name : {"q_proj.weight", "k_proj.weight"}) {
    EXPECT_FALSE(parameter(adapters, name).grad().defined()) << name;
  }
  for (const char* name : {"v_proj.weight", "o_proj.weight", "v_emb0", "v_emb1", "v_emb_no_match"}) {
    ASSERT_TRUE(parameter(adapters, name).grad().defined()) << name;
    EXPECT_GT(parameter(adapters, name).grad().abs().max().item<float>(), 0) << name;
  }
}

// A control that is trained: the same as a model without far matches, in training too, and nothing else can use it.
TEST(AdapterSet, AControlSeesOnlyTheWindow) {
  AdapterConfig config = gated_adapter_config(Agreement::full);
  config.layers = {1};
  config.mixed_queries = false;
  config.limit_to_window = true;
  AdapterSet limited(config, tiny_config(), 3);
  config.limit_to_window = false;
  AdapterSet whole(config, tiny_config(), 3);
  HostExecutor executor(1);
  // Eight inputs that come again after 40 others: far from each other, and never within the window.
  at::manual_seed(5);
  const at::Tensor few = at::randn({1, 8, 48}), others = at::randn({1, 40, 48});
  const at::Tensor normed = at::cat({few, others, few}, 1);
  const auto lengths = [&](const AdapterSet& adapters, bool training) {
    HardResult result;
    AdapterCall call;
    call.executor = &executor;
    call.recorded = &result;
    call.options.training = training;
    call.options = adapters.operator_options(call.options, 10);
    adapters.begin(1, normed, call)(normed);
    return result.lengths.narrow(2, 48, 8).clone();
  };
  EXPECT_EQ(lengths(whole, false).max().item<int64_t>(), 8);
  EXPECT_LT(lengths(limited, false).max().item<int64_t>(), 8);
  EXPECT_TRUE(lengths(limited, true).equal(lengths(limited, false)));
  const CausalModel model = CausalModel::random(tiny_config(), 5);
  ForwardOptions options;
  options.sliding_window = 10;
  options.adapters = &limited;
  options.executor = &executor;
  EXPECT_THROW(Generator(model, options, 1), base::ConfigError);
  testing::TemporaryFolder folder;
  EXPECT_THROW(export_adapter(ModelFamily::qwen3, limited,
                              {.sliding_window = 10, .dtype = "float32", .base_folder = {}}, folder.path()),
               base::ConfigError);
}

class AdapterFile : public ::testing::Test {
 protected:
  std::string refused(const TensorMap& tensors) {
    write_tensors(folder_ / "adapter.safetensors", tensors);
    return refusal<base::DataError>([&] { adapters_.load(folder_ / "adapter.safetensors"); });
  }

  testing::TemporaryFolder folder_;
  AdapterSet adapters_{lively_adapter_config(), tiny_config(), 3};
};

TEST_F(AdapterFile, SavedAndLoadedIsTheSame) {
  const AdapterSet source(lively_adapter_config(), tiny_config(), 4);
  source.save(folder_ / "adapter.safetensors");
  adapters_.load(folder_ / "adapter.safetensors");
  for (const auto& [name, tensor] : source.parameters()) {
    EXPECT_TRUE(tensor.equal(adapters_.parameters().at(name))) << name;
    EXPECT_TRUE(adapters_.parameters().at(name).requires_grad());
    EXPECT_TRUE(adapters_.parameters().at(name).is_leaf());
  }
  const base::SafetensorsFile file(folder_ / "adapter.safetensors");
  for (const char* name :
       {"q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight", "v_emb0", "v_emb1", "v_emb_no_match"}) {
    EXPECT_TRUE(file.contains(std::string(kPrefix) + name)) << name;
  }
}

TEST_F(AdapterFile, AFileWithoutTheThirdVectorStartsItAtBitsZero) {
  TensorMap tensors = AdapterSet(lively_adapter_config(), tiny_config(), 4).parameters();
  for (int64_t layer = 0; layer < 3; ++layer) {
    tensors.erase(base::concat("model.layers.", layer, ".self_attn.rosa_attn.v_emb_no_match"));
  }
  EXPECT_EQ(refused(tensors), "");
  EXPECT_TRUE(parameter(adapters_, "v_emb_no_match").equal(parameter(adapters_, "v_emb0")));
}

TEST_F(AdapterFile, FilesThatDoNotFitAreRefusedByName) {
  const TensorMap good = AdapterSet(lively_adapter_config(), tiny_config(), 4).parameters();
  const at::Tensor before = parameter(adapters_, "q_proj.weight").detach().clone();
  TensorMap bad = good;
  bad.erase(std::string(kPrefix) + "o_proj.weight");
  EXPECT_THAT(refused(bad), HasSubstr(std::string("missing tensors: ") + kPrefix + "o_proj.weight"));
  bad = good;
  bad["model.layers.7.self_attn.rosa_attn.v_emb0"] = at::zeros({18});
  EXPECT_THAT(refused(bad), HasSubstr("model.layers.7"));
  bad = good;
  bad[std::string(kPrefix) + "v_emb0"] = at::zeros({19});
  EXPECT_THAT(refused(bad), HasSubstr("v_emb0 is [19], expected [18]"));

  // Equal shapes, but other heads: 8 x 3 = 6 x 4.
  AdapterConfig config = lively_adapter_config();
  config.query_key_bits = 8;
  config.num_heads = 3;
  config.value_bits = 6;
  config.num_key_value_heads = 3;
  AdapterConfig twin = config;
  twin.num_heads = twin.num_key_value_heads = 6;
  twin.query_key_bits = 4;
  twin.value_bits = 3;
  AdapterSet(config, tiny_config(), 4).save(folder_ / "other.safetensors");
  AdapterSet other(twin, tiny_config(), 4);
  EXPECT_THAT(refusal<base::DataError>([&] { other.load(folder_ / "other.safetensors"); }), HasSubstr("num_heads"));

  std::filesystem::resize_file(folder_ / "other.safetensors", 100);
  EXPECT_THROW(adapters_.load(folder_ / "other.safetensors"), base::DataError);
  EXPECT_THROW(adapters_.load(folder_ / "absent.safetensors"), base::FileError);
  EXPECT_TRUE(parameter(adapters_, "q_proj.weight").equal(before));
}

}  // namespace
}  // namespace rosa::models
