// Text samples: what the student is given, that it goes on with the likeliest tokens, on any number of ranks alike, and
// what an evaluation makes of them.
#include "training/text_samples.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "parallel/thread_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/data/token_file_writer.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using Tokens = std::vector<int64_t>;

class SampleRecorder : public Recorder {
 public:
  void on_evaluation(const EvaluationMetrics& metrics) override {
    Recorder::on_evaluation(metrics);
    for (const TextSample& sample : metrics.samples) texts[metrics.step].push_back(sample);
  }
  std::map<int64_t, std::vector<TextSample>> texts;
};

class TextSamples : public ::testing::Test {
 protected:
  // Documents of 5, 14 and 5 tokens in each sequence of 24; every token of the file is another one.
  TextSamples() {
    at::set_num_threads(1);
    constexpr int64_t kVocabulary = 211;
    const std::string path = folder_ / "text.tokens";
    TokenFileWriter writer(path, kVocabulary, {});
    for (int64_t first = 0; first + 24 <= kVocabulary; first += 24) {
      for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 5}, {5, 19}, {19, 24}}) {
        Tokens document(static_cast<size_t>(end - begin));
        std::iota(document.begin(), document.end(), first + begin);
        writer.add_document(document);
      }
    }
    writer.finish();
    config_.data = {.kind = DataKind::token_file, .sequence_length = 24};
    config_.data.train_path = config_.data.held_out_path = path;
    config_.evaluation = {.every = 3, .num_sequences = 5, .samples = 3, .sample_prompt_tokens = 4, .sample_tokens = 6};
  }

  std::vector<ContinuedText> continued(int num_ranks) const {
    std::vector<ContinuedText> result;
    parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
      at::set_num_threads(1);
      const RunObjects objects = build_run(config_, Objective::distill, communicator);
      const auto texts = continue_held_out_texts(config_, objects.parts(communicator));
      if (communicator.rank() == 0) result = texts;
    });
    return result;
  }

  const testing::TemporaryFolder folder_;
  RunConfig config_ = tiny_config(folder_ / "run");
};

TEST_F(TextSamples, AreTheLongestDocumentsWithTheLikeliestTokensBehindTheirBeginnings) {
  const std::vector<ContinuedText> texts = continued(1);
  ASSERT_EQ(texts.size(), 3u);
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config_, Objective::distill, *single);
  const RunParts parts = objects.parts(*single);
  for (const ContinuedText& text : texts) {
    ASSERT_EQ(text.prompt.size(), 4u);
    EXPECT_EQ(text.prompt[0] % 24, 5) << "the beginning of the document of 14 tokens";
    ASSERT_EQ(text.reference.size(), 6u);
    EXPECT_EQ(text.reference[0], text.prompt[3] + 1);
    ASSERT_EQ(text.continuation.size(), 6u);
    Tokens all = text.prompt;
    all.insert(all.end(), text.continuation.begin(), text.continuation.end());
    const at::NoGradGuard no_gradient;
    const at::Tensor hidden =
        parts.model.hidden_states(at::tensor(all, at::kLong).unsqueeze(0), variant_options(config_, parts, "rosa"));
    const at::Tensor choice = parts.model.logits(hidden)[0].argmax(-1);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(choice[static_cast<int64_t>(3 + i)].item<int64_t>(), text.continuation[i]) << i;
    }
  }
}

TEST_F(TextSamples, HalfADocumentIsGivenAtMostAndAFileMakesNoMoreThanItHas) {
  config_.evaluation.sample_prompt_tokens = 100;
  config_.evaluation.samples = 100;
  const std::vector<ContinuedText> texts = continued(1);
  EXPECT_EQ(texts.size(), 5u);  // evaluation.num_sequences
  EXPECT_EQ(texts[0].prompt.size(), 7u);
}

TEST_F(TextSamples, AnyNumberOfRanksWritesTheSame) {
  const std::vector<ContinuedText> alone = continued(1), shared = continued(3);
  ASSERT_EQ(alone.size(), shared.size());
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(alone[i].prompt, shared[i].prompt);
    EXPECT_EQ(alone[i].continuation, shared[i].continuation);
    EXPECT_EQ(alone[i].reference, shared[i].reference);
  }
}

// Samples change nothing of the run, and come as texts where ids can be decoded.
TEST_F(TextSamples, EvaluationsTellThemAndTheRunStaysTheSame) {
  SampleRecorder with, without;
  config_.train.micro_batches = 1;
  ASSERT_EQ(train(config_, with), RunOutcome::finished);
  ASSERT_EQ(with.texts.size(), 2u);
  ASSERT_EQ(with.texts[3].size(), 3u);
  const Tokens prompt = continued(1)[0].prompt;
  EXPECT_EQ(with.texts[3][0].prompt, base::concat(prompt[0], " ", prompt[1], " ", prompt[2], " ", prompt[3]));
  config_.run.folder = (folder_ / "other").string();
  config_.evaluation.samples = 0;
  ASSERT_EQ(train(config_, without), RunOutcome::finished);
  EXPECT_EQ(with.losses, without.losses);
  EXPECT_EQ(with.evaluations, without.evaluations);
  EXPECT_TRUE(without.texts.empty());

  config_.run.folder = (folder_ / "decoded").string();
  config_.evaluation.samples = 1;
  SampleRecorder decoded;
  const auto single = parallel::make_single_communicator();
  const RunContext context{.communicator = *single,
                           .observer = decoded,
                           .stop_requested = {},
                           .resolved_config = "text",
                           .decode = [](std::span<const int64_t> ids) { return std::string(ids.size(), 'x'); }};
  ASSERT_EQ(train_run(config_, Objective::distill, context), RunOutcome::finished);
  EXPECT_EQ(decoded.texts[6].at(0).prompt, "xxxx");
  EXPECT_EQ(decoded.texts[6].at(0).continuation, "xxxxxx");
}

}  // namespace
}  // namespace rosa::training
