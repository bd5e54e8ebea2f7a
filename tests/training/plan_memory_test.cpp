// The plan's memory against what the tensors of real steps take, byte by byte counted at the allocator.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/mapped_file.h"
#include "models/export.h"
#include "parallel/single_communicator.h"
#include "tests/support/counted_memory.h"
#include "tests/support/temporary_folder.h"
#include "training/plan/memory.h"
#include "training/run_objects.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

RunConfig demo_config() {
  RunConfig config;
  config.run.seed = 3;
  config.run.folder = "unused";
  config.model.folder = std::filesystem::path(ROSA_TEST_DATA) / "../../demo/teachers/natural";
  config.student.sliding_window = 16;
  config.adapter = models::plain_adapter_config();
  config.data.kind = DataKind::phrases;
  config.data.sequence_length = 200;  // no whole number of blocks
  config.train.num_steps = 2;
  config.evaluation.every = 0;
  config.compute.automaton_threads = 1;
  return config;
}

// Planned and counted peaks of the tensors of the second step.
struct Peaks {
  double planned = 0.0, counted = 0.0;
  double ratio() const { return planned / counted; }
};

Peaks peaks_of(const RunConfig& config, Objective objective = Objective::distill) {
  const testing::CountedMemory memory;
  const auto communicator = parallel::make_single_communicator();
  const RunObjects objects = build_run(config, objective, *communicator);
  Trainer trainer(config, objects.parts(*communicator));
  trainer.step(0);
  trainer.step(1);
  // Of the frozen weights: the trained ones are copies, beside which the teacher's stay.
  int64_t mapped = 0;
  for (const auto& [name, tensor] : objects.parts(*communicator).model_of("teacher").parameters()) {
    if (!base::mapped_file_at(tensor.const_data_ptr()).empty()) mapped += static_cast<int64_t>(tensor.nbytes());
  }
  const MemoryPlan plan = plan_memory(
      {.config = config, .objective = objective, .model = objects.model->config(), .maps_base = mapped > 0});
  const MemoryKinds& step = plan.fullest_step();
  EXPECT_EQ(step.mapped, mapped);
  // None is made of tensors that the allocator knows.
  const int64_t tensors = step.total() - step.process - step.allocator - step.data - step.automata - step.mapped;
  return {static_cast<double>(tensors), static_cast<double>(memory.peak_bytes())};
}

constexpr double kTolerance = 0.03;

TEST(PlanMemory, AStepOfTheDemosModel) {
  RunConfig config = demo_config();
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance);
  config.train.micro_batch_sequences = 5;
  const Peaks longer = peaks_of(config);
  EXPECT_NEAR(longer.ratio(), 1.0, kTolerance) << longer.planned;
  config.train.micro_batches = 4;
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << "sums of micro-batches";
  config.train.activation_checkpointing = models::ActivationCheckpointing::full;
  const Peaks checkpointed = peaks_of(config);
  EXPECT_NEAR(checkpointed.ratio(), 1.0, kTolerance);
  EXPECT_LT(checkpointed.counted, longer.counted);
}

TEST(PlanMemory, AlignedLayers) {
  RunConfig config = demo_config();
  config.train.micro_batch_sequences = 4;
  config.loss.alignment = 1.0;
  config.loss.chunk_tokens = 64;
  for (const double output : {0.0, 1.0}) {
    config.loss.output = output;
    EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << output;
  }
  config.loss.alignment_input = AlignmentInput::student;
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance);
}

TEST(PlanMemory, PartsOfLayersRunAgain) {
  RunConfig config = demo_config();
  config.train.micro_batch_sequences = 4;
  config.loss.chunk_tokens = 64;
  const double plain = peaks_of(config).counted;
  for (const auto part : {models::ActivationCheckpointing::mlp, models::ActivationCheckpointing::attention}) {
    config.train.activation_checkpointing = part;
    const Peaks peaks = peaks_of(config);
    EXPECT_NEAR(peaks.ratio(), 1.0, 0.1) << static_cast<int>(part);
    EXPECT_LT(peaks.counted, plain);
  }
}

// Of pieces the plan may say too much, by up to 30 %, but not too little.
TEST(PlanMemory, SequencesInPieces) {
  RunConfig config = demo_config();
  config.data.sequence_length = 2000;
  config.loss.chunk_tokens = 64;
  config.train.sequence_chunk = 100;
  for (const char* estimator : {"sufa", "none"}) {
    config.adapter.estimator = estimator;
    for (const auto part : {models::ActivationCheckpointing::none, models::ActivationCheckpointing::full}) {
      config.train.activation_checkpointing = part;
      const double ratio = peaks_of(config).ratio();
      EXPECT_GT(ratio, 0.97) << estimator << " " << static_cast<int>(part);
      EXPECT_LT(ratio, 1.3) << estimator << " " << static_cast<int>(part);
    }
  }
}

TEST(PlanMemory, Estimators) {
  RunConfig config = demo_config();
  config.train.micro_batch_sequences = 4;
  config.loss.chunk_tokens = 64;
  config.train.activation_checkpointing = models::ActivationCheckpointing::full;
  for (const char* estimator : {"sufa", "bit_flip", "local_counterfactual", "none"}) {
    config.adapter.estimator = estimator;
    EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << estimator;
  }
}

// Their temporaries are not counted one by one.
constexpr double kGateTolerance = 0.1;

TEST(PlanMemory, Gates) {
  RunConfig config = demo_config();
  config.train.micro_batch_sequences = 4;
  config.loss.chunk_tokens = 64;
  config.adapter.num_heads = 32;
  config.adapter.gates = {"length", "hidden", "agreement"};
  config.adapter.candidates = Candidates::mean;
  for (const models::AdapterPlace place : {models::AdapterPlace::attention, models::AdapterPlace::mlp}) {
    for (const models::Agreement agreement : {models::Agreement::tied, models::Agreement::full}) {
      config.adapter.place = place;
      config.adapter.agreement = agreement;
      config.train.trainable = {"*.o_proj.*", "*.v_emb*", "*.g_*"};
      EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kGateTolerance) << "frozen hashes " << static_cast<int>(place);
      config.train.trainable = {"*"};
      EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kGateTolerance) << "trained " << static_cast<int>(place);
    }
  }
}

TEST(PlanMemory, WindowsLossesAndDtypes) {
  RunConfig config = demo_config();
  config.train.micro_batch_sequences = 3;
  config.student.sliding_window = 150;  // a mask instead of blocks
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << "wide window";
  config.student = {.sliding_window = 16, .global_layers = {1}, .sink_tokens = 4};
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << "a global layer and sinks";
  config.student = {.sliding_window = 150};
  config.loss.distill_alpha = 0;
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << "no teacher";
  config.loss.distill_alpha = 0.5;
  config.adapter.layers = {1};
  config.adapter.value_bits = 16;
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << "one layer, wide values";
  config.model.compute_dtype = "bfloat16";
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << "bfloat16";
}

TEST(PlanMemory, WeightsOfTheBaseBesideAdapters) {
  RunConfig config = demo_config();
  config.train.micro_batch_sequences = 3;
  config.train.trainable_base = {"*.mlp.*", "*norm.weight"};
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << "beside a frozen copy";
  config.train.micro_batches = 4;
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << "sums of micro-batches";
}

TEST(PlanMemory, LowRankPairsBesideAdapters) {
  RunConfig config = demo_config();
  config.train.micro_batch_sequences = 3;
  const double without = peaks_of(config).counted;
  config.lora.rank = 8;
  config.lora.patterns = {"*.o_proj.weight"};
  EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << "an input of its own";
  config.lora.patterns = {"*_proj.weight"};
  const Peaks with = peaks_of(config);
  EXPECT_NEAR(with.ratio(), 1.0, kTolerance);
  EXPECT_GT(with.counted, without);
}

TEST(PlanMemory, FamiliesOfModels) {
  for (const models::ModelFamily family : {models::ModelFamily::qwen2, models::ModelFamily::llama}) {
    const testing::TemporaryFolder folder;
    RunConfig config = demo_config();
    models::ModelConfig model = models::load_model_config(config.model.folder);
    model.family = family;
    models::export_model(models::CausalModel::random(model, 1), folder.path());
    config.model.folder = folder.path();
    config.train.micro_batch_sequences = 3;
    EXPECT_NEAR(peaks_of(config).ratio(), 1.0, kTolerance) << models::traits(family).model_type;
  }
}

TEST(PlanMemory, Pretraining) {
  RunConfig config = demo_config();
  config.train.trainable = {"*"};
  config.train.micro_batch_sequences = 4;
  config.loss.distill_alpha = 0;
  // The beginning of the backward is counted a little too full where all weights are trained.
  const double ratio = peaks_of(config, Objective::pretrain).ratio();
  EXPECT_GT(ratio, 1.0 - kTolerance);
  EXPECT_LT(ratio, 1.06);
}

}  // namespace
}  // namespace rosa::training
