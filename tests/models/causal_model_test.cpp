// The forward beside an oracle, packed documents beside each document alone, and activation checkpointing.
#include "models/causal_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>

#include "base/error.h"
#include "models/attention.h"
#include "tests/models/tiny_model.h"
#include "tests/support/tensors.h"

namespace rosa::models {
namespace {

// Attention as its definition reads.
at::Tensor attention_oracle(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const AttentionSpan& span, const at::Tensor& documents) {
  const int64_t length = query.size(1);
  const int64_t group = query.size(2) / key.size(2);
  const auto heads = [](const at::Tensor& x) { return x.to(at::kDouble).transpose(1, 2); };
  const at::Tensor keys = heads(key).repeat_interleave(group, 1);
  const at::Tensor values = heads(value).repeat_interleave(group, 1);
  at::Tensor scores = at::matmul(heads(query), keys.transpose(2, 3)) / std::sqrt(static_cast<double>(query.size(3)));
  const at::Tensor row = at::arange(length).unsqueeze(1);
  const at::Tensor column = at::arange(length).unsqueeze(0);
  at::Tensor hidden = column.gt(row);
  hidden = hidden.unsqueeze(0).unsqueeze(0);
  if (span.window > 0) {
    const at::Tensor in_text =
        documents.defined() ? positions_in_documents(documents).unsqueeze(1).unsqueeze(1) : column;
    hidden = hidden.logical_or(column.le(row - span.window).logical_and(in_text.ge(span.sinks)));
  }
  if (documents.defined()) hidden = hidden.logical_or(documents.unsqueeze(2).ne(documents.unsqueeze(1)).unsqueeze(1));
  scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  return at::matmul(scores.softmax(-1), values).transpose(1, 2).flatten(2);
}

at::Tensor some_documents(int64_t batch, int64_t length) {
  const at::Tensor index = at::arange(length).unsqueeze(0);
  // The second row's first document goes over many blocks of a window.
  at::Tensor rows = at::cat({index.ge(3).to(at::kLong) + index.ge(length / 2), index.ge(length - 1).to(at::kLong)}, 0);
  return rows.narrow(0, 0, batch).contiguous();
}

TEST(CausalAttention, EqualsItsDefinition) {
  for (const int64_t length : {1, 7, 65, 131, 1100}) {
    for (const AttentionSpan span : {AttentionSpan{0, 0}, {1, 0}, {5, 0}, {40, 0}, {1, 1}, {5, 4}, {40, 3}, {33, 50}}) {
      for (const bool packed : {false, true}) {
        at::manual_seed(3);
        std::vector<at::Tensor> inputs, doubles;
        for (const int64_t heads : {4, 2, 2}) inputs.push_back(at::randn({2, length, heads, 8}).requires_grad_(true));
        for (const at::Tensor& input : inputs) doubles.push_back(input.detach().clone().requires_grad_(true));
        const at::Tensor documents = packed ? some_documents(2, length) : at::Tensor();
        const CausalAttention attention(2, length, span, documents, inputs[0]);
        const at::Tensor actual = attention(inputs[0], inputs[1], inputs[2]);
        const at::Tensor expected = attention_oracle(doubles[0], doubles[1], doubles[2], span, documents);
        const std::string what =
            base::concat("T ", length, " window ", span.window, " sinks ", span.sinks, " packed ", packed);
        testing::expect_close(actual, expected, 1e-5, what);
        const at::Tensor gradient = at::randn_like(actual);
        actual.backward(gradient);
        expected.backward(gradient.to(at::kDouble));
        // Absolute: with a window of 1 the gradients of queries and keys are 0.
        for (size_t i = 0; i < 3; ++i) testing::expect_near(inputs[i].grad(), doubles[i].grad(), 5e-5, what);
      }
    }
  }
}

TEST(Attention, PositionsRestartInEveryDocument) {
  const at::Tensor documents = at::tensor({0, 0, 2, 2, 2, 7, 1, 1, 1, 1, 1, 1}, at::kLong).view({2, 6});
  const at::Tensor expected = at::tensor({0, 1, 0, 1, 2, 0, 0, 1, 2, 3, 4, 5}, at::kLong).view({2, 6});
  EXPECT_TRUE(positions_in_documents(documents).equal(expected));
  EXPECT_TRUE(positions_in_documents(at::zeros({3, 1}, at::kLong)).equal(at::zeros({3, 1}, at::kLong)));
}

// One packed row [first | second] against each run alone, for the teacher and for the student with its adapters.
TEST(CausalModel, PackedDocumentsEqualEachAlone) {
  const CausalModel model = CausalModel::random(tiny_config(), 5);
  const AdapterSet plain(lively_adapter_config(), model.config(), 6);
  const AdapterSet gated = gated_adapters(Agreement::tied, 6);
  HostExecutor executor(2);
  const at::Tensor ids = random_ids(1, 150, model.config().vocab_size);
  const int64_t cut = 67;
  at::Tensor documents = at::zeros({1, 150}, at::kLong);
  documents.narrow(1, cut, 150 - cut).fill_(1);
  for (const AdapterSet* adapters : {static_cast<const AdapterSet*>(nullptr), &plain, &gated}) {
    ForwardOptions options;
    options.executor = &executor;
    options.adapters = adapters;
    if (adapters != nullptr) options.sliding_window = 9;
    const at::Tensor first = model.hidden_states(ids.narrow(1, 0, cut), options);
    const at::Tensor second = model.hidden_states(ids.narrow(1, cut, 150 - cut), options);
    options.documents = documents;
    const at::Tensor packed = model.hidden_states(ids, options);
    testing::expect_close(packed, at::cat({first, second}, 1), 1e-5,
                          adapters == nullptr  ? "teacher"
                          : adapters == &gated ? "gated student"
                                               : "student");
  }
}

TEST(CausalModel, TheTeacherIsTheGlobalForwardWithoutGradient) {
  CausalModel model = CausalModel::random(tiny_config(), 5);
  for (auto& [name, parameter] : model.parameters()) parameter.requires_grad_(true);
  const at::Tensor ids = random_ids(2, 40, model.config().vocab_size);
  const at::Tensor teacher = model.teacher_hidden_states(ids);
  EXPECT_FALSE(teacher.requires_grad());
  const at::Tensor same = model.hidden_states(ids);
  EXPECT_TRUE(same.requires_grad());
  EXPECT_TRUE(teacher.equal(same));
}

struct Gradients {
  at::Tensor hidden;
  std::map<std::string, at::Tensor> by_name;
};

Gradients run_with(ActivationCheckpointing checkpointing, bool train_base, double alpha, bool exact_values,
                   AdapterConfig config, const at::Tensor& documents) {
  CausalModel model = CausalModel::random(tiny_config(), 5);
  config.exact_value_gradient = exact_values;
  AdapterSet adapters(config, model.config(), 6);
  stir_gates(adapters);
  HostExecutor executor(2);
  if (train_base) {
    for (auto& [name, parameter] : model.parameters()) parameter.requires_grad_(true);
  }
  ForwardOptions options;
  options.sliding_window = 10;
  options.adapters = &adapters;
  options.executor = &executor;
  options.operator_options.training = true;
  options.operator_options.alpha = alpha;
  options.documents = documents;
  options.activation_checkpointing = checkpointing;
  Gradients result;
  result.hidden = model.hidden_states(random_ids(2, 70, model.config().vocab_size), options);
  at::manual_seed(8);
  result.hidden.backward(at::randn_like(result.hidden));
  for (const auto& [name, parameter] : model.parameters()) result.by_name[name] = parameter.grad();
  for (const auto& [name, parameter] : adapters.parameters()) result.by_name[name] = parameter.grad();
  return result;
}

void expect_equal_bits(const Gradients& plain, const Gradients& checkpointed, bool train_base) {
  EXPECT_TRUE(plain.hidden.equal(checkpointed.hidden));
  for (const auto& [name, gradient] : plain.by_name) {
    ASSERT_EQ(gradient.defined(), checkpointed.by_name.at(name).defined()) << name;
    if (gradient.defined()) {
      EXPECT_TRUE(gradient.equal(checkpointed.by_name.at(name))) << name;
      EXPECT_GT(gradient.abs().max().item<float>(), 0) << name;
    } else {
      EXPECT_FALSE(train_base) << name;
    }
  }
}

void expect_checkpointing_changes_nothing(const AdapterConfig& config) {
  for (const bool train_base : {false, true}) {
    for (const double alpha : {0.3, 1.0}) {
      for (const bool exact_values : {false, config.candidates == Candidates::latest}) {
        for (const at::Tensor& documents : {at::Tensor(), some_documents(2, 70)}) {
          SCOPED_TRACE(base::concat("base ", train_base, " alpha ", alpha, " exact values ", exact_values));
          const Gradients plain =
              run_with(ActivationCheckpointing::none, train_base, alpha, exact_values, config, documents);
          for (const auto part :
               {ActivationCheckpointing::full, ActivationCheckpointing::mlp, ActivationCheckpointing::attention}) {
            SCOPED_TRACE(static_cast<int>(part));
            expect_equal_bits(plain, run_with(part, train_base, alpha, exact_values, config, documents), train_base);
          }
        }
      }
    }
  }
}

TEST(CausalModel, CheckpointedLayersGiveTheSameBits) {
  AdapterConfig config = lively_adapter_config();
  config.layers = {0, 2};
  expect_checkpointing_changes_nothing(config);
}

TEST(CausalModel, CheckpointedLayersWithGatesGiveTheSameBits) {
  for (const Agreement agreement : {Agreement::tied, Agreement::full}) {
    expect_checkpointing_changes_nothing(gated_adapter_config(agreement));
  }
}

TEST(CausalModel, CheckpointedLayersRunTheAutomataOnce) {
  const CausalModel model = CausalModel::random(tiny_config(), 5);
  const AdapterSet adapters(lively_adapter_config(), model.config(), 6);
  HostExecutor executor(1);
  std::atomic<int> pieces = 0;
  executor.set_hooks({[&] { ++pieces; }, {}, {}});
  ForwardOptions options;
  options.sliding_window = 10;
  options.adapters = &adapters;
  options.executor = &executor;
  options.operator_options.training = true;
  options.activation_checkpointing = ActivationCheckpointing::full;
  const at::Tensor hidden = model.hidden_states(random_ids(2, 70, model.config().vocab_size), options);
  const int after_forward = pieces;
  EXPECT_GT(after_forward, 0);
  hidden.sum().backward();
  EXPECT_EQ(pieces, after_forward);
}

// The matching does not go on before the attention has ended, and the attention does not begin before the matching has:
// either order of doing one after the other would wait forever.
TEST(CausalModel, TheAutomataOfALayerRunBesideItsAttention) {
  const CausalModel model = CausalModel::random(tiny_config(), 1);
  AdapterConfig config = lively_adapter_config();
  config.num_heads = config.num_key_value_heads = 1;  // one sequence: one share of work a layer
  const AdapterSet adapters(config, model.config(), 2);
  const at::Tensor hidden = model.embed(random_ids(1, 20, 61));
  const CausalAttention attention(1, 20, {.window = 4}, {}, hidden);
  HostExecutor executor(1);
  std::latch matching_began(1), attention_ended(1);
  AdapterCall call;
  call.options = adapters.operator_options({}, 4);
  call.options.training = true;
  call.executor = &executor;
  LayerContext context;
  model.set_rotary_tables(at::arange(20).unsqueeze(0), context);
  context.attention = [&](int64_t, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
    return attention(query, key, value);
  };
  context.begin_adapter = [&](int64_t layer, const at::Tensor& normed) { return adapters.begin(layer, normed, call); };
  const at::Tensor plain = model.layer(0, hidden, context);

  executor.set_hooks({[&] {
                        matching_began.count_down();
                        attention_ended.wait();
                      },
                      {},
                      {}});
  context.attention = [&](int64_t, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
    matching_began.wait();
    const at::Tensor attended = attention(query, key, value);
    attention_ended.count_down();
    return attended;
  };
  EXPECT_TRUE(at::equal(model.layer(0, hidden, context), plain));
}

TEST(CausalModel, AnAdapterThatStartsAtZeroLeavesTheWindowStudent) {
  const CausalModel model = CausalModel::random(tiny_config(), 5);
  AdapterConfig config = lively_adapter_config();
  config.zero_output_start = true;
  const AdapterSet adapters(config, model.config(), 6);
  HostExecutor executor(1);
  const at::Tensor ids = random_ids(2, 50, model.config().vocab_size);
  ForwardOptions options;
  options.sliding_window = 10;
  const at::Tensor window_only = model.hidden_states(ids, options);
  options.adapters = &adapters;
  options.executor = &executor;
  EXPECT_TRUE(window_only.equal(model.hidden_states(ids, options)));
}

TEST(CausalModel, Bfloat16BaseKeepsFloat32Adapters) {
  ModelConfig config = tiny_config();
  const CausalModel wide = CausalModel::random(config, 5);
  std::map<std::string, at::Tensor> narrow;
  for (const auto& [name, parameter] : wide.parameters()) narrow[name] = parameter.to(at::kBFloat16);
  const CausalModel model(config, narrow);
  const AdapterSet adapters(lively_adapter_config(), config, 6);
  HostExecutor executor(1);
  ForwardOptions options;
  options.sliding_window = 10;
  options.adapters = &adapters;
  options.executor = &executor;
  options.operator_options.training = true;
  const at::Tensor hidden = model.hidden_states(random_ids(2, 70, config.vocab_size), options);
  EXPECT_EQ(hidden.scalar_type(), at::kBFloat16);
  hidden.to(at::kFloat).square().sum().backward();
  for (const auto& [name, parameter] : adapters.parameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    EXPECT_EQ(parameter.grad().scalar_type(), at::kFloat) << name;
    EXPECT_TRUE(at::isfinite(parameter.grad()).all().item<bool>()) << name;
  }
  testing::expect_close(model.teacher_hidden_states(random_ids(1, 20, config.vocab_size)),
                        wide.teacher_hidden_states(random_ids(1, 20, config.vocab_size)), 0.05, "teacher");
}

TEST(CausalModel, WrongInputsAreRefused) {
  const CausalModel model = CausalModel::random(tiny_config(), 5);
  at::Tensor ids = random_ids(1, 8, model.config().vocab_size);
  ids[0][3] = model.config().vocab_size;
  EXPECT_THROW(model.hidden_states(ids), base::DataError);
  ids[0][3] = -1;
  EXPECT_THROW(model.hidden_states(ids), base::DataError);
  EXPECT_THROW(model.hidden_states(ids.to(at::kInt)), base::ArgumentError);
  EXPECT_THROW(model.hidden_states(at::zeros({1, 0}, at::kLong)), base::ArgumentError);
  const AdapterSet adapters(lively_adapter_config(), model.config(), 6);
  ForwardOptions options;
  options.adapters = &adapters;
  EXPECT_THROW(model.hidden_states(random_ids(1, 8, 61), options), base::ArgumentError);  // no executor
}

TEST(CausalModel, RandomWeightsAreAFunctionOfTheSeed) {
  const CausalModel first = CausalModel::random(tiny_config(), 5);
  const CausalModel again = CausalModel::random(tiny_config(), 5);
  const CausalModel other = CausalModel::random(tiny_config(), 6);
  for (const auto& [name, parameter] : first.parameters()) {
    EXPECT_TRUE(parameter.equal(again.parameters().at(name)));
    if (parameter.dim() == 1) continue;
    EXPECT_FALSE(parameter.equal(other.parameters().at(name))) << name;
    EXPECT_NEAR(parameter.std().item<double>(), 0.15, 0.015) << name;
    EXPECT_NEAR(parameter.mean().item<double>(), 0, 0.015) << name;
  }
}

}  // namespace
}  // namespace rosa::models
