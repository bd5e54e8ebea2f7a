// Headroom: the fit of the mixture against a search over its weights, and what it says of data with copies and without.
#include "training/suite/headroom.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

std::vector<CopiedToken> tokens_of_one_length(int32_t length, double right_share) {
  base::RandomStream random({.seed = 5});
  std::vector<CopiedToken> tokens(2000);
  for (CopiedToken& token : tokens) {
    token.probability = 0.05 + 0.9 * random.uniform();
    token.match_length = length;
    token.is_right = random.uniform() < right_share;
  }
  return tokens;
}

TEST(MixtureWeights, AreThoseOfTheHighestLikelihood) {
  for (const double right_share : {0.1, 0.6, 0.95}) {
    const std::vector<CopiedToken> tokens = tokens_of_one_length(3, right_share);
    const double fitted = MixtureWeights::fitted(tokens).values()[3];
    double best = 0.0, best_ce = 1e300;
    for (double weight = 0.0; weight < 1.0; weight += 0.001) {
      double ce = 0.0;
      for (const CopiedToken& token : tokens) {
        ce -= std::log((1 - weight) * token.probability + (token.is_right ? weight : 0.0));
      }
      if (ce < best_ce) {
        best_ce = ce;
        best = weight;
      }
    }
    EXPECT_NEAR(fitted, best, 0.003) << right_share;
  }
}

TEST(MixtureWeights, WithoutAMatchOrWithoutTokensNothingIsMixedIn) {
  const MixtureWeights weights = MixtureWeights::fitted(tokens_of_one_length(0, 0.0));
  EXPECT_THAT(weights.values(), ::testing::Each(0.0));
  EXPECT_DOUBLE_EQ(weights.cross_entropy({.probability = 0.25, .match_length = 40, .is_right = true}), std::log(4.0));
}

// The classes share out the lengths; a class's weight serves exactly its own lengths.
TEST(MixtureWeights, GoByClassesOfLengths) {
  const std::vector<std::pair<int32_t, size_t>> classes = {{0, 0}, {1, 1},  {2, 2},  {3, 3},  {4, 3},  {5, 4},   {8, 4},
                                                           {9, 5}, {16, 5}, {17, 6}, {32, 6}, {33, 7}, {9999, 7}};
  for (const auto& [length, index] : classes) {
    const MixtureWeights weights = MixtureWeights::fitted(tokens_of_one_length(length, 0.9));
    for (size_t i = 0; i < MixtureWeights::kNumLengths; ++i) {
      EXPECT_EQ(weights.values()[i] > 0, i == index && i > 0) << length << " " << i;
    }
  }
}

class HeadroomOfText : public ::testing::Test {
 protected:
  // A random model knows nothing, so that all there is to gain is the copier's.
  Headroom measure(const std::string& text, int64_t sequence_length = 64) {
    std::ofstream(folder_ / "text.txt") << text;
    DataConfig data;
    data.kind = DataKind::crops;
    data.held_out_path = folder_ / "text.txt";
    data.sequence_length = sequence_length;
    const auto source = make_data_source(data, DataSplit::held_out, 1, 1);
    models::ModelConfig shape;
    shape.vocab_size = 256;
    shape.hidden_size = 32;
    shape.intermediate_size = 48;
    shape.num_hidden_layers = 2;
    shape.num_attention_heads = 2;
    shape.num_key_value_heads = 1;
    shape.head_dim = 16;
    const models::CausalModel model = models::CausalModel::random(shape, 3);
    const auto single = parallel::make_single_communicator();
    HostExecutor executor(1);
    RunConfig run;
    run.student.sliding_window = 8;
    const RunParts parts{.model = model,
                         .adapters = nullptr,
                         .training_data = *source,
                         .held_out_data = *source,
                         .communicator = *single,
                         .executor = executor,
                         .device = at::kCPU,
                         .own_teacher = nullptr};
    return measure_headroom({.num_sequences = 24}, run, parts);
  }
  static std::string random_letters(int64_t size) {
    base::RandomStream random({.seed = 11});
    std::string text;
    for (int64_t i = 0; i < size; ++i) text += static_cast<char>('a' + random.below(26));
    return text;
  }

  const rosa::testing::TemporaryFolder folder_;
};

TEST_F(HeadroomOfText, ACopierKnowsARepeatedTextAndLittleOfARandomOne) {
  std::string repeated;
  const std::string piece = random_letters(16);
  for (int i = 0; i < 200; ++i) repeated += piece;
  const Headroom of_repeated = measure(repeated), of_random = measure(random_letters(3200));
  // Of 63 tokens 16 come for the first time.
  EXPECT_LT(of_repeated.copiers[0].ce, 0.5 * of_repeated.window_ce);
  EXPECT_GT(of_repeated.copiers[0].right_share, 0.85);
  EXPECT_GT(of_random.copiers[0].ce, 0.9 * of_random.window_ce);
  EXPECT_LE(of_random.copiers[0].ce, of_random.window_ce + 0.05);
  ASSERT_EQ(of_repeated.copiers.size(), 3u);
  EXPECT_EQ(of_repeated.copiers[2].name, "layer 1");
  EXPECT_LT(of_repeated.copiers[1].ce, of_repeated.window_ce);
  EXPECT_EQ(of_repeated.num_sequences, 12);
  EXPECT_EQ(headroom_json(of_repeated).dump(), headroom_json(measure(repeated)).dump());
  EXPECT_THAT(headroom_table(of_repeated), HasSubstr("layer 1"));
}

// Random teachers know no more than windows do: a ratio to that gap says nothing.
TEST_F(HeadroomOfText, AGapThatIsNoneHasNoShare) {
  const Headroom headroom = measure(random_letters(3200));
  for (const CopierHeadroom& copier : headroom.copiers) EXPECT_FALSE(copier.closed.has_value()) << copier.name;
}

TEST_F(HeadroomOfText, OneSequenceIsTooFew) { EXPECT_THROW(measure(random_letters(70)), base::DataError); }

}  // namespace
}  // namespace rosa::training
