// What a Generator keeps of its texts: taken back, forked, saved and loaded, and texts of different lengths together.
#include "models/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/error.h"
#include "base/random.h"
#include "models/generate.h"
#include "tests/models/tiny_model.h"
#include "tests/support/tensors.h"

namespace rosa::models {
namespace {

constexpr int64_t kWindow = 7;

enum class Kind { teacher, window, sinks, student, gated_student, fully_gated_student, bfloat16_student };

class GeneratorTest : public ::testing::TestWithParam<Kind> {
 protected:
  GeneratorTest() {
    if (GetParam() == Kind::gated_student) adapt_base();
    if (GetParam() != Kind::bfloat16_student) return;
    for (auto& [name, tensor] : model_.parameters()) tensor = tensor.to(at::kBFloat16);
  }

  // A low-rank pair on every projection of two layers.
  void adapt_base() {
    const at::NoGradGuard no_gradient;
    std::vector<std::string> names;
    for (const auto& [name, weight] : model_.parameters()) {
      if (is_projection(name) && !name.starts_with("model.layers.1.")) names.push_back(name);
    }
    adapters_.set_low_rank(LowRank(tiny_config(), names, 3, 6, 9));
    at::manual_seed(31);
    for (auto& [name, tensor] : adapters_.low_rank()->parameters()) tensor.add_(at::randn_like(tensor), 0.05);
  }

  ForwardOptions options() const {
    ForwardOptions options;
    if (GetParam() != Kind::teacher) options.sliding_window = kWindow;
    if (GetParam() == Kind::sinks || GetParam() == Kind::gated_student) {
      options.sink_tokens = 3;
      options.layer_windows = {kWindow, 0, 2};
    }
    if (GetParam() != Kind::teacher && GetParam() != Kind::window) {
      options.adapters = &adapters_;
      options.executor = &executor_;
    }
    return options;
  }
  Generator make(int64_t batch = 1, int64_t max_rewind = Generator::kDefaultMaxRewind) const {
    return Generator(model_, options(), batch, max_rewind);
  }

  // A step of one token for every text.
  static at::Tensor next(Generator& generator, int64_t token) {
    return generator.append(at::full({generator.batch(), 1}, token, at::kLong));
  }
  static std::vector<at::Tensor> append(Generator& generator, const std::vector<std::vector<int64_t>>& tokens) {
    return generator.append(tokens);
  }
  // Both go on with the same bits, over the whole window and beyond.
  static void expect_same_future(Generator& a, Generator& b) {
    ASSERT_EQ(a.size(), b.size());
    for (int64_t step = 0; step < 30; ++step) {
      ASSERT_TRUE(next(a, step % 7).equal(next(b, step % 7))) << "step " << step;
    }
  }

  CausalModel model_ = CausalModel::random(tiny_config(), 11);
  AdapterSet adapters_ = GetParam() == Kind::gated_student ? gated_adapters(Agreement::tied, 12)
                         : GetParam() == Kind::fully_gated_student
                             ? gated_adapters(Agreement::full, 12)
                             : AdapterSet(lively_adapter_config(), tiny_config(), 12);
  mutable HostExecutor executor_{2};
};

std::vector<int64_t> ids_of(int64_t length, uint64_t seed = 1) {
  const at::Tensor ids = random_ids(1, length, 61, seed)[0].contiguous();
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + length};
}

TEST_P(GeneratorTest, TogetherIsBitForBitOneByOne) {
  const std::vector<int64_t> ids = ids_of(80);
  for (const int64_t together : {2, 3, 5, 16}) {
    Generator one = make(), many = make();
    for (size_t first = 0; first < ids.size();) {
      const size_t last = std::min(ids.size(), first + static_cast<size_t>(together));
      const at::Tensor hidden = append(many, {{ids.begin() + first, ids.begin() + last}})[0];
      for (; first < last; ++first) {
        const at::Tensor expected = next(one, ids[first])[0][0];
        const int64_t row = hidden.size(0) - static_cast<int64_t>(last - first);
        ASSERT_TRUE(hidden[row].equal(expected)) << together << " together, token " << first;
        ASSERT_TRUE(many.logits(hidden)[row].equal(one.logits(expected.unsqueeze(0))[0]));
      }
    }
  }
}

TEST_P(GeneratorTest, ATextOfABatchIsBitForBitThatTextAlone) {
  const std::vector<int64_t> lengths = {1, 3, 40, 17, 700};
  Generator batch = make(static_cast<int64_t>(lengths.size()));
  std::vector<Generator> alone;
  std::vector<std::vector<int64_t>> prompts;
  for (const int64_t length : lengths) {
    alone.push_back(make());
    prompts.push_back(ids_of(length, static_cast<uint64_t>(length)));
  }
  for (int64_t step = 0; step < 20; ++step) {
    if (step > 0) {
      for (size_t i = 0; i < prompts.size(); ++i) {
        prompts[i] = ids_of((step + static_cast<int64_t>(i)) % 4, static_cast<uint64_t>(step));
      }
    }
    const std::vector<at::Tensor> hidden = batch.append(prompts);
    for (size_t i = 0; i < prompts.size(); ++i) {
      ASSERT_EQ(hidden[i].defined(), !prompts[i].empty());
      if (prompts[i].empty()) continue;
      ASSERT_TRUE(hidden[i].equal(append(alone[i], {prompts[i]})[0])) << "text " << i << ", step " << step;
      ASSERT_EQ(batch.size(static_cast<int64_t>(i)), alone[i].size());
    }
  }
}

TEST_P(GeneratorTest, ALongPromptInChunksIsTheWholeForward) {
  const at::NoGradGuard no_gradient;
  const at::Tensor ids = random_ids(1, 1300, 61);
  Generator generator = make();
  const at::Tensor hidden = generator.append(ids);
  EXPECT_EQ(generator.size(), 1300);
  if (GetParam() == Kind::bfloat16_student) {
    // Roundings flip bits of symbols, and these what is retrieved: most numbers are near, not all.
    const at::Tensor distance = (hidden - model_.hidden_states(ids, options())).to(at::kFloat).abs();
    EXPECT_LT(distance.median().item<float>(), 0.1);
    return;
  }
  testing::expect_close(hidden, model_.hidden_states(ids, options()), 5e-5, "chunks");
}

TEST_P(GeneratorTest, WhatWasTakenBackWasNever) {
  for (const int64_t prompt : {4, 30, 200}) {
    for (const int64_t num_back : {1, 5, 16, 60}) {
      Generator plain = make(), detour = make();
      const std::vector<int64_t> ids = ids_of(prompt);
      append(plain, {ids});
      append(detour, {ids});
      for (int64_t i = 0; i < num_back; ++i) next(detour, (i * 5) % 9);
      ASSERT_GE(detour.rewindable(), num_back);
      detour.rewind(0, num_back);
      expect_same_future(plain, detour);
    }
  }
}

TEST_P(GeneratorTest, OneTextIsTakenBackBesideAnother) {
  Generator both = make(2), first = make(), second = make();
  append(both, {ids_of(20), ids_of(33, 2)});
  append(first, {ids_of(20)});
  append(second, {ids_of(33, 2)});
  append(both, {{1, 2, 3}, {4, 5}});
  both.rewind(0, 3);
  append(second, {{4, 5}});
  for (int64_t step = 0; step < 12; ++step) {
    const at::Tensor hidden = next(both, step % 5);
    ASSERT_TRUE(hidden[0].equal(next(first, step % 5)[0]));
    ASSERT_TRUE(hidden[1].equal(next(second, step % 5)[0]));
  }
}

TEST_P(GeneratorTest, MoreThanIsKeptIsNotTakenBack) {
  Generator generator = make(1, /*max_rewind=*/20);
  append(generator, {ids_of(300)});
  const int64_t most = generator.rewindable();
  EXPECT_GE(most, 20);
  EXPECT_THROW(generator.rewind(0, most + 1), base::ArgumentError);
  EXPECT_THROW(generator.rewind(0, -1), base::ArgumentError);
  EXPECT_EQ(generator.size(), 300);
  generator.rewind(0, most);
  EXPECT_EQ(generator.size(), 300 - most);
  EXPECT_EQ(GetParam() == Kind::teacher, most == 300);
}

TEST_P(GeneratorTest, AForkGoesOnByItself) {
  Generator original = make();
  append(original, {ids_of(50)});
  Generator fork = original.fork(), later = original.fork();
  for (int64_t i = 0; i < 10; ++i) next(fork, i);
  expect_same_future(original, later);
}

TEST_P(GeneratorTest, LoadedGoesOnBitForBit) {
  for (const int64_t length : {1, 5, 40, 600}) {
    Generator original = make(2, 30);
    append(original, {ids_of(length), ids_of(length + 9, 3)});
    append(original, {{1}, {2}});
    original.rewind(0, 1);
    const std::vector<std::byte> bytes = original.save();
    Generator loaded = Generator::load(bytes, model_, options());
    EXPECT_EQ(loaded.size(0), length);
    EXPECT_EQ(loaded.size(1), length + 10);
    EXPECT_EQ(loaded.rewindable(0), original.rewindable(0));
    EXPECT_EQ(loaded.save(), bytes);
    expect_same_future(original, loaded);
    EXPECT_EQ(loaded.save(), original.save());
    loaded.rewind(1, 20);
    original.rewind(1, 20);
    expect_same_future(original, loaded);
  }
}

TEST_P(GeneratorTest, SavedTextsOfOtherWeightsAreRefused) {
  Generator generator = make();
  append(generator, {ids_of(9)});
  const std::vector<std::byte> bytes = generator.save();
  const auto message = [&](const CausalModel& model, const ForwardOptions& other) {
    try {
      Generator::load(bytes, model, other);
    } catch (const base::DataError& error) {
      return std::string(error.what());
    }
    return std::string("loaded");
  };
  EXPECT_EQ(message(model_, options()), "loaded");
  EXPECT_THAT(message(CausalModel::random(tiny_config(), 12), options()), ::testing::HasSubstr("another base model"));
  const AdapterSet others(lively_adapter_config(), tiny_config(), 13);
  ForwardOptions other = options();
  other.adapters = &others;
  other.executor = &executor_;
  EXPECT_THAT(message(model_, other), ::testing::HasSubstr("other adapters"));
  other = options();
  other.sliding_window = kWindow + 1;
  EXPECT_THAT(message(model_, other), ::testing::HasSubstr("another sliding window"));
}

// The checksum made right again, so that what is behind it is tested too.
void mend_checksum(std::vector<std::byte>& bytes) {
  if (bytes.size() < 8) return;
  const uint64_t sum = base::checksum(std::span(bytes).first(bytes.size() - 8));
  for (size_t i = 0; i < 8; ++i) bytes[bytes.size() - 8 + i] = static_cast<std::byte>(sum >> (8 * i));
}

TEST_P(GeneratorTest, DamagedBytesAreDataErrors) {
  Generator generator = make();
  append(generator, {ids_of(12)});
  const std::vector<std::byte> good = generator.save();
  for (size_t size = 0; size < good.size(); size += 1 + size / 7) {
    std::vector<std::byte> cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(Generator::load(cut, model_, options()), base::DataError) << size;
    mend_checksum(cut);
    EXPECT_THROW(Generator::load(cut, model_, options()), base::DataError) << size;
  }
  base::RandomStream random({.seed = 5});
  int64_t num_refused = 0;
  for (int64_t round = 0; round < 400; ++round) {
    std::vector<std::byte> damaged = good;
    // Sizes and counts stand in whole numbers of 8 bytes; half of the rounds write large ones.
    const auto at =
        static_cast<size_t>(random.uniform() * static_cast<double>(std::min<size_t>(good.size() / 8 - 1, 40)));
    for (size_t i = 0; i < 8; ++i) {
      damaged[8 * at + i] = static_cast<std::byte>(round % 2 == 0 ? 255 * random.uniform() : (i == 3 ? 63 : 0));
    }
    EXPECT_THROW(Generator::load(damaged, model_, options()), base::DataError) << round;
    mend_checksum(damaged);
    try {
      Generator::load(damaged, model_, options());
    } catch (const base::DataError&) {
      ++num_refused;
    }
  }
  EXPECT_GT(num_refused, 50);
}

TEST_P(GeneratorTest, TokensOutsideTheVocabularyChangeNothing) {
  Generator generator = make(2), other = make(2);
  append(generator, {ids_of(9), ids_of(4)});
  append(other, {ids_of(9), ids_of(4)});
  EXPECT_THROW(append(generator, {{1, 2}, {61}}), base::DataError);
  EXPECT_THROW(append(generator, {{1, 2}, {-1}}), base::DataError);
  expect_same_future(generator, other);
}

// Drafts change no token, whatever is drafted: texts that repeat, texts that do not, draws, penalties, several rows.
TEST_P(GeneratorTest, DraftedTokensAreThePlainOnes) {
  int64_t num_accepted = 0, num_rejected = 0;
  for (uint64_t seed = 0; seed < 24; ++seed) {
    const bool is_periodic = seed % 2 == 0;
    std::vector<std::vector<int64_t>> prompts;
    std::vector<GenerateOptions> choices;
    for (int64_t row = 0; row < 1 + static_cast<int64_t>(seed % 3); ++row) {
      prompts.push_back(ids_of(5 + 13 * row + static_cast<int64_t>(seed), seed));
      if (is_periodic) {
        const std::vector<int64_t> once = prompts.back();
        for (int i = 0; i < 3; ++i) prompts.back().insert(prompts.back().end(), once.begin(), once.end());
      }
      GenerateOptions choice;
      choice.max_new_tokens = 70 + row;
      choice.sample = seed % 4 >= 2;
      choice.temperature = 0.3;
      choice.seed = static_cast<int64_t>(seed);
      if (seed % 5 == 1) choice.repetition_penalty = 1.2;
      if (seed % 6 == 3) choice.stop_tokens = {3};
      choices.push_back(choice);
    }
    std::vector<std::vector<int64_t>> plain = prompts;
    Generator plain_generator = make(static_cast<int64_t>(prompts.size()));
    continue_texts(plain_generator, plain, choices, Speculation::off);
    for (const Speculation speculation : {Speculation::on, Speculation::automatic}) {
      std::vector<std::vector<int64_t>> drafted = prompts;
      Generator generator = make(static_cast<int64_t>(prompts.size()));
      const ContinueStatistics statistics = continue_texts(generator, drafted, choices, speculation);
      EXPECT_EQ(drafted, plain) << "seed " << seed;
      num_accepted += statistics.num_accepted;
      num_rejected += statistics.num_drafted - statistics.num_accepted;
      for (size_t row = 0; row < prompts.size(); ++row) {
        EXPECT_EQ(generator.size(static_cast<int64_t>(row)), static_cast<int64_t>(drafted[row].size()) - 1);
      }
    }
  }
  EXPECT_GT(num_accepted, 100);
  EXPECT_GT(num_rejected, 100);
}

INSTANTIATE_TEST_SUITE_P(Models, GeneratorTest,
                         ::testing::Values(Kind::teacher, Kind::window, Kind::sinks, Kind::student, Kind::gated_student,
                                           Kind::fully_gated_student, Kind::bfloat16_student));

TEST(ContinueTexts, GoesOnWhereItEndedAndStopsWhereItIsTold) {
  const CausalModel model = CausalModel::random(tiny_config(), 11);
  std::vector<std::vector<int64_t>> whole = {ids_of(20)}, parts = whole;
  std::vector<GenerateOptions> options(1);
  options[0].max_new_tokens = 30;
  Generator generator(model, {}, 1), in_parts(model, {}, 1);
  continue_texts(generator, whole, options, Speculation::automatic);
  EXPECT_EQ(whole[0].size(), 50);
  options[0].max_new_tokens = 12;
  continue_texts(in_parts, parts, options, Speculation::automatic);
  int64_t num_told = 0;
  options[0].max_new_tokens = 100;
  continue_texts(in_parts, parts, options, Speculation::automatic, [&](int64_t text, int64_t token) {
    EXPECT_EQ(text, 0);
    EXPECT_EQ(token, whole[0][32 + num_told]);
    return ++num_told < 18;
  });
  EXPECT_EQ(num_told, 18);
  EXPECT_EQ(parts, whole);
  std::vector<std::vector<int64_t>> nothing_left = {std::vector<int64_t>(whole[0].begin(), whole[0].begin() + 49)};
  EXPECT_THROW(continue_texts(in_parts, nothing_left, options, Speculation::off), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::models
