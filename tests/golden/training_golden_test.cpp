// Schedules, losses and the four whole distillation runs against the reference programs' results.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <filesystem>
#include <fstream>

#include "base/safetensors.h"
#include "models/causal_model.h"
#include "parallel/single_communicator.h"
#include "rosa/operator/tensor_bytes.h"
#include "tests/support/goldens.h"
#include "tests/support/tensors.h"
#include "training/losses.h"
#include "training/schedules.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

using testing::golden_metadata;
using testing::goldens_folder;

at::Tensor load(const base::SafetensorsFile& file, const std::string& name) { return to_tensor(file.at(name)); }

TEST(TrainingGolden, Schedules) {
  std::ifstream in(goldens_folder() / "schedules.json");
  const auto golden = nlohmann::json::parse(in);
  const std::map<std::string, ScheduleShape> shapes = {{"linear", ScheduleShape::linear},
                                                       {"cosine", ScheduleShape::cosine},
                                                       {"exponential", ScheduleShape::exponential}};
  const int64_t num_steps = golden.at("total_steps");
  int num_checked = 0;
  for (const auto& [name, values] : golden.at("values").items()) {
    ScheduleConfig config{.shape = shapes.at(name), .start = golden.at("initial"), .end = golden.at("final").at(name)};
    for (size_t step = 0; step < values.size(); ++step) {
      EXPECT_NEAR(schedule_value(config, static_cast<int64_t>(step), num_steps), values[step].get<double>(), 1e-12)
          << name << " step " << step;
      ++num_checked;
    }
  }
  EXPECT_GT(num_checked, 0);
}

// The loss takes hidden states: with the identity as lm_head they are the logits themselves.
TEST(TrainingGolden, DistillationLoss) {
  const base::SafetensorsFile file(goldens_folder() / "distill_loss.safetensors");
  const at::Tensor student = load(file, "student_logits"), teacher = load(file, "teacher_logits");
  const int64_t vocabulary = student.size(2);
  const at::Tensor identity = at::eye(vocabulary);
  const auto cases = testing::golden_cases(file);
  ASSERT_FALSE(cases.empty());
  // The golden's cross-entropy is one number that no labels are given for; its term adds a constant.
  const double ce = load(file, "loss_ce").item<double>();
  for (const std::string& name : cases) {
    SCOPED_TRACE(name);
    const auto settings = golden_metadata(file, name);
    LossInput input;
    input.student_hidden = student.clone().set_requires_grad(true);
    input.student_lm_head = identity;
    input.teacher_hidden = teacher;
    input.teacher_lm_head = identity;
    input.labels = at::full({student.size(0), student.size(1)}, -100, at::kLong);
    LossConfig config{
        .distill_alpha = settings.at("alpha"), .temperature = settings.at("temperature"), .chunk_tokens = 5};
    const double num_tokens = static_cast<double>(student.size(0) * student.size(1));
    const Loss loss = distillation_loss(input, config, num_tokens, 0.0);
    torch::autograd::backward({loss.value}, {});
    EXPECT_NEAR(loss.value.item<double>() + (1 - config.distill_alpha) * ce, load(file, name + ".loss").item<double>(),
                1e-6);
    testing::expect_close(input.student_hidden.grad(), load(file, name + ".grad_student_logits"), 1e-5);
  }
}

// Micro-batch a of step s is row s * accum + a of the golden's input_ids.
class GoldenRows : public DataSource {
 public:
  GoldenRows(at::Tensor rows, int64_t accumulation) : rows_(std::move(rows)), accumulation_(accumulation) {}

  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override {
    const at::Tensor sequences = rows_.narrow(0, step * accumulation_, accumulation_).flatten(0, 1);
    Batch batch;
    batch.input_ids = sequences.narrow(0, first_sample, num_samples).clone();
    batch.labels = batch.input_ids;
    return batch;
  }
  int64_t vocabulary_size() const override { return rows_.max().item<int64_t>() + 1; }
  std::string fingerprint() const override { return "golden"; }
  std::string content() const override { return "golden"; }

 private:
  at::Tensor rows_;
  int64_t accumulation_;
};

RunConfig golden_config(const nlohmann::json& m) {
  RunConfig config = recipe_defaults("rosa_soft_20251121");
  config.student.sliding_window = m.at("sliding_window");
  config.adapter.num_heads = m.at("heads");
  config.adapter.num_key_value_heads = m.at("kv_heads");
  config.adapter.query_key_bits = m.at("bits");
  config.adapter.value_bits = m.at("bits");
  config.adapter.estimator = m.at("proxy") == "sufa" ? "sufa" : "soft_rosa";
  config.adapter.proxy_mask = m.at("proxy_mask") == "causal" ? ProxyMask::causal : ProxyMask::sliding_window;
  config.adapter.sufa_head_dim = m.at("head_dim");
  config.adapter.position_bias = m.at("position_bias").get<bool>() ? PositionBias::exp : PositionBias::none;
  config.train.num_steps = m.at("steps");
  config.train.micro_batches = m.at("accum");
  config.loss.distill_alpha = m.at("distill_alpha");
  config.loss.temperature = m.at("temperature");
  config.optimizer.beta1 = m.at("betas")[0];
  config.optimizer.beta2 = m.at("betas")[1];
  config.optimizer.epsilon = m.at("eps");
  config.optimizer.weight_decay = m.at("weight_decay");
  config.optimizer.clip = m.at("clip");
  config.schedules.learning_rate.start = m.at("lr");
  config.schedules.learning_rate.warmup_steps = m.at("warmup_steps");
  config.schedules.bits_tau.start = m.at("bits_tau");
  config.schedules.attn_tau.start = m.at("attn_tau");
  return config;
}

void expect_tensors(const base::SafetensorsFile& file, const std::string& prefix, const NamedTensors& actual,
                    double tolerance) {
  int num_checked = 0;
  for (const auto& [name, tensor] : actual) {
    const double difference = (tensor.detach() - load(file, prefix + name)).abs().max().item<double>();
    EXPECT_LE(difference, tolerance) << prefix << name;
    ++num_checked;
  }
  EXPECT_GT(num_checked, 0);
}

// The first moment after one step is (1 - beta1) times the clipped gradient.
void expect_first_gradients(const base::SafetensorsFile& file, Trainer& trainer, double norm,
                            const OptimizerConfig& optimizer) {
  const base::StateDict state = trainer.state().at("optimizer")->save_state();
  const double clipped = std::min(1.0, optimizer.clip / (norm + 1e-6));
  for (const auto& entry : trainer.trained()) {
    if (!file.contains("step0.grad." + entry.first)) continue;
    const at::Tensor moment = from_state(state.tensors.at(entry.first + ".first_moment"));
    testing::expect_close(moment / ((1 - optimizer.beta1) * clipped), load(file, "step0.grad." + entry.first), 5e-5);
  }
}

class DistillationRun : public ::testing::TestWithParam<std::string> {};

TEST_P(DistillationRun, EqualsTheReference) {
  const auto path = goldens_folder() / (GetParam() + ".safetensors");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const base::SafetensorsFile file(path);
  const auto settings = golden_metadata(file);
  RunConfig config = golden_config(settings);
  const at::Tensor rows = load(file, "input_ids");
  config.train.micro_batch_sequences = rows.size(1);

  const models::CausalModel model =
      models::CausalModel::load(goldens_folder() / settings.at("base").get<std::string>());
  models::AdapterSet adapters(config.adapter, model.config(), /*seed=*/0);
  for (auto& [name, tensor] : adapters.parameters()) {
    at::NoGradGuard no_grad;
    tensor.copy_(load(file, "init." + name));
  }
  const GoldenRows data(rows, config.train.micro_batches);
  const auto communicator = parallel::make_single_communicator();
  at::set_num_threads(1);
  HostExecutor executor(2);
  RunParts parts{.model = model,
                 .adapters = &adapters,
                 .training_data = data,
                 .held_out_data = data,
                 .communicator = *communicator,
                 .executor = executor};
  Trainer trainer(config, parts);

  const at::Tensor losses = load(file, "losses"), norms = load(file, "grad_norms");
  const at::Tensor rates = load(file, "lrs"), alphas = load(file, "alphas");
  for (int64_t step = 0; step < config.train.num_steps; ++step) {
    SCOPED_TRACE(::testing::Message() << "step " << step);
    if (step == 3 && file.contains("step3.param." + trainer.trained().begin()->first)) {
      expect_tensors(file, "step3.param.", trainer.trained(), 1e-5);
    }
    const StepMetrics metrics = trainer.step(step);
    const double loss = losses[step].item<double>(), norm = norms[step].item<double>();
    EXPECT_NEAR(metrics.loss, loss, 1e-5 * std::abs(loss));
    EXPECT_NEAR(metrics.gradient_norm, norm, 1e-5 * norm);
    EXPECT_NEAR(metrics.learning_rate, rates[step].item<double>(), 1e-9);
    EXPECT_NEAR(metrics.alpha, alphas[step].item<double>(), 1e-7);
    if (step == 0) expect_first_gradients(file, trainer, metrics.gradient_norm, config.optimizer);
  }
  expect_tensors(file, "final.", trainer.trained(), 1e-5);

  at::NoGradGuard no_grad;
  models::ForwardOptions options = student_options(config, model, &adapters, executor);
  const at::Tensor hidden = model.hidden_states(rows[0], options);
  const at::Tensor logits = model.logits(hidden);
  EXPECT_LE((logits - load(file, "final_eval_logits")).abs().max().item<double>(), 5e-5);
  const at::Tensor ce = token_cross_entropy(hidden, model.lm_head_weight(), rows[0], {.chunk_tokens = 16});
  const double mean = ce.to(at::kDouble).sum().item<double>() / static_cast<double>(rows.size(1) * (rows.size(2) - 1));
  const double expected = load(file, "final_eval_loss").item<double>();
  EXPECT_NEAR(mean, expected, 1e-5 * expected);
}

// Every golden file of the folder that holds a run.
std::vector<std::string> run_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(goldens_folder())) {
    const std::string stem = entry.path().stem().string();
    if (stem.starts_with("distill_") && entry.path().extension() == ".safetensors" && stem != "distill_loss") {
      names.push_back(stem);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(TrainingGolden, DistillationRun, ::testing::ValuesIn(run_names()),
                         [](const auto& run) { return run.param; });

}  // namespace
}  // namespace rosa::training
