// Steps in pieces of a sequence (train.sequence_chunk) and with parts of layers run again: the same losses and
// gradients, the same bits on any number of ranks and through a resume, memory that hardly grows with the sequence, and
// the plan beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/counted_memory.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/checkpoint.h"
#include "training/plan/memory.h"
#include "training/run_objects.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

using models::ActivationCheckpointing;
using ::testing::HasSubstr;

std::string adapter_bytes(const Recorder& recorder) {
  return base::read_file(recorder.last_checkpoint / "adapter.safetensors", 1 << 26);
}

class SequenceChunkRun : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }
  const testing::TemporaryFolder folder_;
};

RunConfig chunked_config(const std::filesystem::path& folder) {
  RunConfig config = tiny_config(folder);
  config.train.sequence_chunk = 7;  // of 24
  config.train.num_steps = 4;
  config.train.micro_batches = 4;
  config.train.micro_batch_sequences = 2;
  return config;
}

TEST_F(SequenceChunkRun, RanksAndResumesGiveTheSameBits) {
  Recorder one, two, parts, whole;
  train(chunked_config(folder_ / "one"), one);
  train_on_two_ranks(chunked_config(folder_ / "two"), two);
  EXPECT_EQ(two.losses, one.losses);
  EXPECT_EQ(adapter_bytes(two), adapter_bytes(one));
  const RunConfig config = chunked_config(folder_ / "parts");
  ASSERT_EQ(train(config, parts, 2), RunOutcome::stopped);
  ASSERT_EQ(train(config, parts), RunOutcome::finished);
  EXPECT_EQ(parts.losses, one.losses);
  EXPECT_EQ(adapter_bytes(parts), adapter_bytes(one));
  RunConfig unchunked = chunked_config(folder_ / "whole");
  unchunked.train.sequence_chunk = 0;
  train(unchunked, whole);
  for (const auto& [step, loss] : whole.losses) EXPECT_NEAR(one.losses.at(step) / loss, 1.0, 1e-4) << step;
  EXPECT_NEAR(one.losses.at(0) / whole.losses.at(0), 1.0, 1e-6);
}

TEST_F(SequenceChunkRun, AResumeWithOtherPiecesIsRefused) {
  RunConfig config = chunked_config(folder_ / "run");
  Recorder recorder;
  train(config, recorder, 1);
  config.train.sequence_chunk = 8;
  try {
    train(config, recorder);
    FAIL() << "no error";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("train.sequence_chunk: the checkpoint has '7', this run has '8'"));
  }
}

TEST_F(SequenceChunkRun, PartsRunAgainChangeNoBit) {
  Recorder plain;
  RunConfig config = tiny_config(folder_ / "none");
  config.train.num_steps = 2;
  train(config, plain);
  for (const auto part : {ActivationCheckpointing::mlp, ActivationCheckpointing::attention}) {
    Recorder again;
    config.run.folder = (folder_ / std::to_string(static_cast<int>(part))).string();
    config.train.activation_checkpointing = part;
    train(config, again);
    EXPECT_EQ(again.losses, plain.losses);
    EXPECT_EQ(adapter_bytes(again), adapter_bytes(plain));
  }
}

TEST_F(SequenceChunkRun, APartBesidePiecesIsRefused) {
  RunConfig config = chunked_config(folder_ / "run");
  config.train.activation_checkpointing = ActivationCheckpointing::full;
  EXPECT_EQ(problems_of(config), "");
  config.train.activation_checkpointing = ActivationCheckpointing::mlp;
  EXPECT_THAT(problems_of(config), HasSubstr("train.activation_checkpointing"));
  EXPECT_THAT(problems_of(config), HasSubstr("with sequence_chunk both parts are computed again anyway"));
}

// Whatever runs again in the backward, each gate of the forward counts once.
TEST_F(SequenceChunkRun, GatesAreCountedOnce) {
  for (const int64_t chunk : {0, 7}) {
    for (const auto checkpointing : {ActivationCheckpointing::none, ActivationCheckpointing::full}) {
      RunConfig config = tiny_config(folder_ / "run");
      config.adapter.gates = {"length", "hidden", "agreement"};
      const auto single = parallel::make_single_communicator();
      const RunObjects objects = build_run(config, Objective::distill, *single);
      const RunParts parts = objects.parts(*single);
      models::ForwardOptions options = student_options(config, parts.model, parts.adapters, parts.executor);
      options.operator_options.training = true;
      options.sequence_chunk = chunk;
      options.activation_checkpointing = checkpointing;
      models::GateStatistics gates;
      options.gate_statistics = &gates;
      const at::Tensor ids = parts.training_data.batch(0, 0, 2).input_ids;
      parts.model.hidden_states(ids, options).sum().backward();
      ASSERT_EQ(gates.size(), static_cast<size_t>(parts.model.config().num_hidden_layers));
      for (const auto& [layer, counts] : gates) {
        EXPECT_EQ(counts.num, ids.numel() * parts.adapters->config().num_heads) << layer << " in pieces of " << chunk;
        EXPECT_DOUBLE_EQ(counts.mean(), 1.0) << "where every gate starts";
        EXPECT_EQ(counts.num_closed, 0);
      }
    }
  }
}

// ------------------------------------------------------------------------------------------------------------ memory

// The demo's model with its default adapter, of fixed hashes.
RunConfig demo_config(int64_t length, int64_t chunk, ActivationCheckpointing checkpointing) {
  RunConfig config;
  config.run.seed = 3;
  config.run.folder = "unused";
  config.model.folder = std::filesystem::path(ROSA_TEST_DATA) / "../../demo/teachers/natural";
  config.student.sliding_window = 32;
  config.data.kind = DataKind::phrases;
  config.data.sequence_length = length;
  config.train.num_steps = 1;
  config.train.sequence_chunk = chunk;
  config.train.activation_checkpointing = checkpointing;
  config.loss.distill_alpha = 0.0;
  config.loss.chunk_tokens = 64;
  config.evaluation.every = 0;
  config.compute.automaton_threads = 1;
  return config;
}

// What the tensors of a step hold at most.
double peak_of(const RunConfig& config) {
  const auto communicator = parallel::make_single_communicator();
  const RunObjects objects = build_run(config, Objective::distill, *communicator);
  Trainer trainer(config, objects.parts(*communicator));
  const testing::CountedMemory memory;
  trainer.step(0);
  return static_cast<double>(memory.peak_bytes());
}

TEST_F(SequenceChunkRun, MemoryGrowsWithTheLayersInputsAndSymbolsOnly) {
  constexpr int64_t kShort = 2048, kLong = 4096;
  const auto growth = [](int64_t chunk, ActivationCheckpointing checkpointing) {
    return (peak_of(demo_config(kLong, chunk, checkpointing)) - peak_of(demo_config(kShort, chunk, checkpointing))) /
           static_cast<double>(kLong - kShort);
  };
  const auto model = models::load_model_config(demo_config(kShort, 0, ActivationCheckpointing::none).model.folder);
  const double of_hidden = static_cast<double>(model.hidden_size) * sizeof(float);
  const auto heads = static_cast<double>(model.hidden_size / 8);  // the default, of 8 bits
  // A head's place counts and sums in int16, its length, and whether it matched.
  const double of_record = heads * (9 * 2 + 2);
  const double whole = growth(0, ActivationCheckpointing::none);
  const double pieces = growth(128, ActivationCheckpointing::none);
  const double least = growth(128, ActivationCheckpointing::full);
  const auto layers = static_cast<double>(model.num_hidden_layers);
  // Two inputs of parts a layer; beside the layers the first input, the final norm's, the gradient, and what comes and
  // goes of that size.
  EXPECT_LT(pieces, layers * (2 * of_hidden + of_record) + 10 * of_hidden);
  EXPECT_LT(least, layers * (of_hidden + of_record) + 10 * of_hidden);
  EXPECT_GT(whole, 2.5 * pieces);
}

}  // namespace
}  // namespace rosa::training
