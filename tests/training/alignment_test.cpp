// The alignment loss: layers of the student against those of the teacher.
#include "training/alignment.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "models/attention.h"
#include "parallel/single_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/run_objects.h"
#include "training/run_rules.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

class AlignmentTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  RunConfig config(const char* name = "run") const {
    RunConfig config = tiny_config(folder_ / name);
    config.train.micro_batches = 2;
    config.schedules.alpha = {.start = 1.0};
    config.loss.alignment = 2.0;
    config.loss.output = 0.0;
    return config;
  }

  // What layers give of a model with the window of the student (0: the teacher's), each fed what the teacher's gets.
  struct Layers {
    std::vector<at::Tensor> inputs, outputs;
  };
  static Layers layers_of(const models::CausalModel& model, const at::Tensor& input_ids, int64_t window,
                          const std::vector<at::Tensor>& inputs = {}) {
    models::LayerContext context;
    model.set_rotary_tables(at::arange(input_ids.size(1)).unsqueeze(0), context);
    at::Tensor hidden = model.embed(input_ids);
    const models::CausalAttention attention(input_ids.size(0), input_ids.size(1), {window, 0}, {}, hidden);
    context.attention = [&](int64_t, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
      return attention(query, key, value);
    };
    Layers layers;
    for (int64_t i = 0; i < model.config().num_hidden_layers; ++i) {
      if (!inputs.empty()) hidden = inputs[static_cast<size_t>(i)];
      layers.inputs.push_back(hidden);
      hidden = model.layer(i, hidden, context);
      layers.outputs.push_back(hidden);
    }
    return layers;
  }

  testing::TemporaryFolder folder_;
};

// Adapters that start at zero: the student is the model in its window.
TEST_F(AlignmentTest, TheValueIsTheDistanceOfLayersOnTheTeachersInput) {
  RunConfig config = this->config();
  const auto single = parallel::make_single_communicator();
  for (const AlignmentBy by : {AlignmentBy::mse, AlignmentBy::cosine}) {
    config.loss.alignment_by = by;
    config.loss.alignment_layers = {1.0, 3.0, 0.0};
    const RunObjects objects = build_run(config, Objective::distill, *single);
    Trainer trainer(config, objects.parts(*single));
    double expected = 0.0;
    for (int64_t i = 0; i < 2; ++i) {
      const Batch batch = objects.training_data->batch(0, i, 1);
      const Layers teacher = layers_of(*objects.model, batch.input_ids, 0);
      const Layers student = layers_of(*objects.model, batch.input_ids, config.student.sliding_window, teacher.inputs);
      for (size_t layer = 0; layer < 2; ++layer) {
        const at::Tensor &a = student.outputs[layer], &b = teacher.outputs[layer];
        const at::Tensor distance = by == AlignmentBy::mse
                                        ? (a - b).square().mean(-1)
                                        : 1 - (a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).sqrt();
        expected += (layer == 0 ? 0.25 : 0.75) * distance.mean().item<double>() / 2;
      }
    }
    const StepMetrics metrics = trainer.step(0);
    EXPECT_NEAR(*metrics.alignment, expected, 1e-5 * expected);
    EXPECT_DOUBLE_EQ(metrics.loss, 2.0 * *metrics.alignment);
  }
}

TEST_F(AlignmentTest, FedByTheTeacherEachLayerLearnsApart) {
  for (const AlignmentInput input : {AlignmentInput::teacher, AlignmentInput::student}) {
    RunConfig config = this->config();
    config.loss.alignment_input = input;
    config.loss.alignment_layers = {0.0, 1.0, 0.0};
    config.adapter.zero_output_start = false;
    const auto single = parallel::make_single_communicator();
    const RunObjects objects = build_run(config, Objective::distill, *single);
    std::map<std::string, at::Tensor> before;
    for (const auto& [name, tensor] : objects.adapters->parameters()) before[name] = tensor.detach().clone();
    config.optimizer.weight_decay = 0.0;
    Trainer trainer(config, objects.parts(*single));
    trainer.step(0);
    const auto changed = [&](int64_t layer) {
      const std::string name = models::adapter_weight_name(layer, "o_proj.weight");
      return !objects.adapters->parameters().at(name).equal(before.at(name));
    };
    EXPECT_EQ(changed(0), input == AlignmentInput::student);
    EXPECT_TRUE(changed(1));
    EXPECT_FALSE(changed(2)) << "nothing comes back from a later layer";
  }
}

TEST_F(AlignmentTest, BothLossesAddUp) {
  RunConfig config = this->config();
  config.loss.output = 3.0;
  for (const AlignmentOf of : {AlignmentOf::attention, AlignmentOf::hidden}) {
    config.loss.alignment_of = of;
    const auto single = parallel::make_single_communicator();
    const RunObjects objects = build_run(config, Objective::distill, *single);
    Trainer trainer(config, objects.parts(*single));
    const StepMetrics metrics = trainer.step(0);
    EXPECT_GT(*metrics.alignment, 0.0);
    EXPECT_GT(metrics.kl, 0.0);
    EXPECT_DOUBLE_EQ(metrics.loss, 3.0 * (0.5 * metrics.kl + 0.5 * metrics.ce) + 2.0 * *metrics.alignment);
    // The output's part is that of a run without alignment.
    RunConfig plain = config;
    plain.loss.alignment = 0.0;
    plain.loss.output = 1.0;
    const RunObjects others = build_run(plain, Objective::distill, *single);
    Trainer other(plain, others.parts(*single));
    EXPECT_DOUBLE_EQ(other.step(0).kl, metrics.kl);
  }
}

TEST_F(AlignmentTest, PaddingDoesNotCount) {
  RunConfig config = this->config();
  config.loss.alignment_input = AlignmentInput::student;
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config, Objective::distill, *single);
  const RunParts parts = objects.parts(*single);
  const at::Tensor input_ids = objects.training_data->batch(0, 0, 2).input_ids;
  const auto loss_of = [&](const at::Tensor& padding, double count) {
    Alignment alignment(config, parts.model, parts.teacher());
    alignment.run_teacher(input_ids, {}, 0);
    models::ForwardOptions options = student_options(config, parts.model, parts.adapters, parts.executor);
    alignment.watch(options);
    parts.model.hidden_states(input_ids, options);
    Loss loss;
    loss.value = at::zeros({});
    loss.sequences.resize(2);
    alignment.add_to(loss, padding, count);
    return loss;
  };
  const int64_t length = input_ids.size(1);
  const Loss all = loss_of({}, static_cast<double>(2 * length));
  at::Tensor padding = at::zeros({2, length}, at::kBool);
  padding[1].fill_(true);
  const Loss first = loss_of(padding, static_cast<double>(length));
  EXPECT_EQ(first.sequences[1].alignment, 0.0);
  EXPECT_EQ(first.sequences[0].alignment, all.sequences[0].alignment);
  EXPECT_NEAR(first.value.item<double>(), 2.0 * first.sums.alignment / static_cast<double>(length), 1e-6);
}

TEST_F(AlignmentTest, TrainingBringsTheLayersTogether) {
  RunConfig config = this->config();
  config.schedules.learning_rate = {.start = 2e-3};
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config, Objective::distill, *single);
  Trainer trainer(config, objects.parts(*single));
  const double first = trainer.step(0).loss;
  for (int i = 0; i < 10; ++i) trainer.step(0);
  EXPECT_LT(trainer.step(0).loss, 0.9 * first);
}

TEST_F(AlignmentTest, StoppedRecomputedOrOnMoreRanksTheBitsAreTheSame) {
  Recorder whole, parts, two, checkpointed;
  ASSERT_EQ(train(config("whole"), whole), RunOutcome::finished);
  ASSERT_EQ(train(config("parts"), parts, 3), RunOutcome::stopped);
  ASSERT_EQ(train(config("parts"), parts), RunOutcome::finished);
  EXPECT_EQ(parts.losses, whole.losses);
  train_on_two_ranks(config("two"), two);
  EXPECT_EQ(two.losses, whole.losses);
  RunConfig recomputed = config("checkpointed");
  recomputed.train.activation_checkpointing = models::ActivationCheckpointing::full;
  ASSERT_EQ(train(recomputed, checkpointed), RunOutcome::finished);
  EXPECT_EQ(checkpointed.losses, whole.losses);
}

TEST_F(AlignmentTest, WhatDoesNotFitIsRefused) {
  EXPECT_EQ(problems_of(config()), "");
  RunConfig config = this->config();
  config.loss.alignment_layers = {1.0, 1.0};
  EXPECT_THAT(problems_of(config), HasSubstr("loss.alignment_layers"));
  config.loss.alignment_layers = {0.0, 0.0, 0.0};
  EXPECT_THAT(problems_of(config), HasSubstr("selects no layer"));
  config = this->config();
  config.loss.alignment_of = AlignmentOf::attention;
  EXPECT_EQ(problems_of(config), "");
  config.train.activation_checkpointing = models::ActivationCheckpointing::full;
  EXPECT_THAT(problems_of(config), HasSubstr("take hidden, or no full checkpointing"));
  config.train.activation_checkpointing = models::ActivationCheckpointing::none;
  config.adapter.place = models::AdapterPlace::mlp;
  EXPECT_THAT(problems_of(config), HasSubstr("take hidden"));
  // Layers in which nothing is trained.
  config = this->config();
  config.adapter.layers = {0};
  config.loss.alignment_layers = {0.0, 1.0, 0.0};
  EXPECT_THAT(problems_of(config), HasSubstr("nothing is trained"));
  config.loss.alignment_input = AlignmentInput::student;
  EXPECT_EQ(problems_of(config), "") << "what comes from layer 0 is trained";
  config.loss.alignment_input = AlignmentInput::teacher;
  config.adapter.layers = {};
  config.loss.alignment_layers = {0.0, 0.0, 0.0, 1.0};
  EXPECT_THAT(problems_of(config), HasSubstr("nothing is trained"));
  config = this->config();
  config.loss.alignment = 0.0;
  EXPECT_THAT(problems_of(config), HasSubstr("there is nothing to learn"));
}

}  // namespace
}  // namespace rosa::training
