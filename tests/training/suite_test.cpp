// Evaluation suites: what probes hold, intervals, and the scores of a small model: whole and streamed, on any number of
// ranks, beside the evaluation of the training.
#include "training/suite/suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/activity.h"
#include "base/error.h"
#include "base/random.h"
#include "parallel/thread_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/data/token_file_writer.h"
#include "training/suite/probes.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;
using Tokens = std::vector<int64_t>;

Tokens random_text(int64_t length, int64_t num_different) {
  base::RandomStream random({.seed = 7});
  Tokens text(static_cast<size_t>(length));
  for (int64_t& token : text) token = static_cast<int64_t>(random.below(static_cast<uint64_t>(num_different)));
  return text;
}

SuiteTask task_of(SuiteTaskKind kind) {
  SuiteTask task;
  task.task = kind;
  task.name = task_name(kind);
  return task;
}

Tokens slice(const Tokens& ids, int64_t first, int64_t end) { return {ids.begin() + first, ids.begin() + end}; }

// Where `piece` begins in the tokens before `end`, each time.
std::vector<int64_t> places(const Tokens& ids, const Tokens& piece, int64_t end) {
  std::vector<int64_t> found;
  for (auto at = ids.begin();
       (at = std::search(at, ids.begin() + end, piece.begin(), piece.end())) != ids.begin() + end; ++at) {
    found.push_back(at - ids.begin());
  }
  return found;
}

class ProbeOf : public ::testing::TestWithParam<SuiteTaskKind> {};

TEST_P(ProbeOf, IsAPureFunctionOfItsNumberAndAsLongAsItIsToBe) {
  const SuiteTask task = task_of(GetParam());
  const Tokens text = random_text(400, 50);
  for (const int64_t length : {150, 400}) {
    const Probe probe = make_probe(task, 1, length, 50, 3, text);
    EXPECT_EQ(static_cast<int64_t>(probe.ids.size()), length);
    EXPECT_EQ(make_probe(task, 1, length, 50, 3, text).ids, probe.ids);
    ASSERT_FALSE(probe.answers.empty());
    for (const auto& [first, end] : probe.answers) {
      EXPECT_GT(first, 0);
      EXPECT_LT(first, end);
      EXPECT_LE(end, length);
    }
    EXPECT_EQ(probe.answers.back().second, length);
    if (GetParam() != SuiteTaskKind::copy) {
      EXPECT_NE(make_probe(task, 2, length, 50, 3, text).ids, probe.ids);
      EXPECT_NE(make_probe(task, 1, length, 50, 4, text).ids, probe.ids);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, ProbeOf,
                         ::testing::Values(SuiteTaskKind::needle, SuiteTaskKind::recall, SuiteTaskKind::multi_hop,
                                           SuiteTaskKind::last_value, SuiteTaskKind::copy),
                         [](const auto& entry) { return task_name(entry.param); });

TEST(Probe, ANeedleStandsOnceAtItsDepthAndIsAskedForAtTheEnd) {
  const SuiteTask task = task_of(SuiteTaskKind::needle);
  const Tokens text = random_text(300, 40);
  Tokens last_key;
  for (const int64_t depth : {0, 25, 50, 100}) {
    const Probe probe = make_probe(task, 1, 300, depth, 0, text);
    const Tokens key = slice(probe.ids, 300 - 8, 300 - 4), value = slice(probe.ids, 296, 300);
    if (depth > 0) {
      EXPECT_EQ(key, last_key);  // the same question at every depth
    }
    last_key = key;
    const std::vector<int64_t> found = places(probe.ids, key, 292);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0], (300 - 16) * depth / 100);
    EXPECT_EQ(slice(probe.ids, found[0] + 4, found[0] + 8), value);
    EXPECT_THAT(probe.answers, ::testing::ElementsAre(std::pair<int64_t, int64_t>(296, 300)));
  }
}

TEST(Probe, RecallAsksForEveryKeyOnce) {
  const SuiteTask task = task_of(SuiteTaskKind::recall);
  const Probe probe = make_probe(task, 1, 300, 0, 0, random_text(300, 40));
  ASSERT_EQ(static_cast<int64_t>(probe.answers.size()), task.num_pairs);
  std::set<Tokens> keys;
  const int64_t questions = 300 - 8 * task.num_pairs;
  for (const auto& [first, end] : probe.answers) {
    const Tokens key = slice(probe.ids, first - 4, first);
    keys.insert(key);
    const std::vector<int64_t> found = places(probe.ids, key, questions);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(slice(probe.ids, found[0] + 4, found[0] + 8), slice(probe.ids, first, end));
  }
  EXPECT_EQ(static_cast<int64_t>(keys.size()), task.num_pairs);
}

TEST(Probe, EachHopIsALinkThatStandsOnceBefore) {
  const SuiteTask task = task_of(SuiteTaskKind::multi_hop);
  const Probe probe = make_probe(task, 1, 300, 0, 0, random_text(300, 40));
  const int64_t question = 300 - 4 * (task.num_hops + 1);
  for (int64_t hop = 0; hop < task.num_hops; ++hop) {
    const Tokens link = slice(probe.ids, question + 4 * hop, question + 4 * hop + 8);
    EXPECT_EQ(places(probe.ids, link, question).size(), 1u);
  }
}

TEST(Probe, TheLatestValueIsTheAnswer) {
  const SuiteTask task = task_of(SuiteTaskKind::last_value);
  const Probe probe = make_probe(task, 1, 300, 0, 0, random_text(300, 40));
  const std::vector<int64_t> found = places(probe.ids, slice(probe.ids, 292, 296), 292);
  ASSERT_EQ(static_cast<int64_t>(found.size()), task.num_values);
  EXPECT_EQ(slice(probe.ids, found.back() + 4, found.back() + 8), slice(probe.ids, 296, 300));
}

TEST(Probe, ACopyIsThePassageAtTheStart) {
  const SuiteTask task = task_of(SuiteTaskKind::copy);
  const Probe probe = make_probe(task, 1, 300, 0, 0, random_text(300, 40));
  EXPECT_EQ(slice(probe.ids, 0, 32), slice(probe.ids, 300 - 32, 300));
  EXPECT_THAT(probe.answers, ::testing::ElementsAre(std::pair<int64_t, int64_t>(300 - 24, 300)));
}

TEST(Probe, ATextTooUniformForKeysIsRefused) {
  try {
    make_probe(task_of(SuiteTaskKind::needle), 1, 100, 0, 0, Tokens(100, 5));
    FAIL();
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("no key of 4 tokens"));
  }
}

TEST(Bootstrap, TheIntervalOfAMeanIsThatOfItsStandardError) {
  constexpr int64_t kNum = 400;
  base::RandomStream random({.seed = 3});
  std::vector<double> values(kNum);
  for (double& value : values) value = random.normal();
  const auto mean = [&](std::span<const double> counts) {
    double sum = 0.0, count = 0.0;
    for (size_t i = 0; i < values.size(); ++i) {
      sum += counts[i] * values[i];
      count += counts[i];
    }
    return std::optional(sum / count);
  };
  const auto interval = Bootstrap(kNum, 2000, 1).interval(mean);
  ASSERT_TRUE(interval.has_value());
  const double expected = 2 * 1.96 / std::sqrt(static_cast<double>(kNum));
  EXPECT_NEAR(interval->high - interval->low, expected, 0.15 * expected);
  const double centre = *mean(std::vector<double>(kNum, 1.0));
  EXPECT_LT(interval->low, centre);
  EXPECT_GT(interval->high, centre);
  EXPECT_EQ(Bootstrap(kNum, 2000, 1).interval(mean)->low, interval->low);
  EXPECT_NE(Bootstrap(kNum, 2000, 2).interval(mean)->low, interval->low);
}

TEST(Bootstrap, TooFewSequencesHaveNoInterval) {
  EXPECT_FALSE(Bootstrap(4, 100, 1).interval([](auto) { return std::optional(1.0); }).has_value());
  EXPECT_FALSE(Bootstrap(10, 100, 1).interval([](auto) -> std::optional<double> { return std::nullopt; }).has_value());
}

TEST(SuiteConfig, EveryBuiltInSuiteIsGoodAndOthersAreNamed) {
  for (const std::string& name : suite_names()) EXPECT_NO_THROW(base::require_good(built_in_suite(name))) << name;
  EXPECT_THROW(built_in_suite("quikc"), base::ConfigError);
  SuiteTask task = task_of(SuiteTaskKind::needle);
  task.multiples = {4, 1, 4};
  EXPECT_THAT(lengths_of(task, 100), ::testing::ElementsAre(100, 400));
  task.lengths = {50};
  EXPECT_THAT(lengths_of(task, 100), ::testing::ElementsAre(50));
  task.lengths = {16};
  EXPECT_THROW(lengths_of(task, 100), base::ConfigError);
  task.lengths = {};
  EXPECT_THAT(lengths_of(task, 10), ::testing::ElementsAre(40));  // 1 times 10 is too short for a needle
  EXPECT_THROW(lengths_of(task, 1), base::ConfigError);
}

// A small student with random adapters, scored on phrases.
class SuiteOfARun : public ::testing::Test {
 protected:
  SuiteOfARun() {
    suite_.num_resamples = 100;
    suite_.whole_max = 100;
    for (const SuiteTaskKind kind : {SuiteTaskKind::language, SuiteTaskKind::length, SuiteTaskKind::needle}) {
      SuiteTask task = task_of(kind);
      if (kind != SuiteTaskKind::language) task.lengths = {48, 96};
      if (kind == SuiteTaskKind::needle) task.depths = {0, 100};
      task.count = 5;
      suite_.tasks.push_back(task);
    }
  }

  SuiteResult run(int num_ranks = 1, const std::vector<std::string>& variants = kAllVariants) {
    SuiteResult result;
    parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
      const RunObjects objects = build_run(config_, Objective::distill, communicator);
      const SuiteResult of_rank = run_suite(suite_, config_, objects.parts(communicator), variants);
      if (communicator.rank() == 0) result = of_rank;
    });
    return result;
  }

  static const SuiteRow& row(const SuiteResult& result, const std::string& task, int64_t length,
                             const std::string& variant, const std::string& group = "all") {
    const auto found = std::find_if(result.rows.begin(), result.rows.end(), [&](const SuiteRow& one) {
      return one.task == task && one.length == length && one.variant == variant && one.group == group;
    });
    base::require(found != result.rows.end(), "no row ", task, " ", length, " ", variant, " ", group);
    return *found;
  }

  // Without what is measured in seconds.
  static std::string bits(const SuiteResult& result) {
    nlohmann::ordered_json json = suite_json(result);
    for (auto& one : json["rows"]) one["figures"].erase("us_per_token");
    return json.dump();
  }

  const rosa::testing::TemporaryFolder folder_;
  RunConfig config_ = tiny_config(folder_ / "run");
  SuiteConfig suite_;
};

TEST_F(SuiteOfARun, TheLanguageTaskIsTheEvaluationOfTheTraining) {
  const SuiteResult result = run();
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config_, Objective::distill, *single);
  const Scores scores = evaluate_variants(config_, objects.parts(*single), kAllVariants);
  for (const std::string& variant : kAllVariants) {
    const SuiteRow& all = row(result, "language", config_.data.sequence_length, variant);
    EXPECT_EQ(all.num_tokens, static_cast<int64_t>(scores.at(variant).all.total.count));
    EXPECT_NEAR(all.figure("ce")->value, scores.at(variant).ce(), 1e-5) << variant;
    const SuiteRow& recallable = row(result, "language", config_.data.sequence_length, variant, "recallable");
    EXPECT_NEAR(recallable.figure("ce")->value, scores.at(variant).recallable.total.mean(), 1e-5) << variant;
    if (variant == "teacher") continue;
    EXPECT_GT(all.figure("kl")->value, 0.0);
    EXPECT_LE(all.figure("agreement")->value, 1.0);
  }
  // The groups of each kind share out the tokens.
  for (const std::string kind : {"position", "cop"}) {
    int64_t num_tokens = 0;
    for (const SuiteRow& one : result.rows) {
      const bool is_of_kind = one.group.starts_with(kind) || (kind == "cop" && one.group == "not copied");
      if (one.task == "language" && one.variant == "rosa" && is_of_kind) num_tokens += one.num_tokens;
    }
    EXPECT_EQ(num_tokens, row(result, "language", config_.data.sequence_length, "rosa").num_tokens) << kind;
  }
}

// Against the matches of each head as the operator is known to find them: the best head is that of a brute search.
TEST_F(SuiteOfARun, TokensAreGroupedByTheBestMatchOfAnyHead) {
  suite_.tasks = {task_of(SuiteTaskKind::language)};
  const SuiteResult result = run(1, {"window", "rosa"});
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config_, Objective::distill, *single);
  const RunParts parts = objects.parts(*single);
  std::map<std::string, int64_t> expected;
  const HeldOutSequences held_out(config_, parts.held_out_data);
  for (int64_t sequence = 0; sequence < held_out.size(); ++sequence) {
    const Batch batch = held_out.batch(sequence, 1);
    const int64_t length = batch.input_ids.size(1);
    std::vector<int64_t> best(static_cast<size_t>(length), 0);
    models::ForwardOptions options = variant_options(config_, parts, "rosa");
    options.watch_adapter_inputs = [&](int64_t layer, const at::Tensor& normed, const at::Tensor&) {
      const models::AdapterSymbols symbols = parts.adapters->symbols(layer, normed, at::Tensor());
      const int64_t group = symbols.query.size(1) / symbols.key.size(1);
      for (int64_t head = 0; head < symbols.query.size(1); ++head) {
        const at::Tensor query = symbols.query[0][head].to(at::kLong), key = symbols.key[0][head / group].to(at::kLong);
        const int64_t *q = query.const_data_ptr<int64_t>(), *k = key.const_data_ptr<int64_t>();
        for (int64_t t = 0; t < length; ++t) {
          for (int64_t i = 0; i < t; ++i) {
            int64_t match = 0;
            while (match <= i && q[t - match] == k[i - match]) ++match;
            best[static_cast<size_t>(t)] = std::max(best[static_cast<size_t>(t)], match);
          }
        }
      }
    };
    at::NoGradGuard no_gradient;
    parts.model.hidden_states(batch.input_ids, options);
    const at::Tensor counted = counted_tokens(batch).contiguous();
    for (int64_t t = 1; t < length; ++t) {
      if (!counted[0][t].item<bool>()) continue;
      const int64_t match = best[static_cast<size_t>(t - 1)];
      const bool is_open = match >= 64;
      int64_t low = 1;
      while (2 * low <= match) low *= 2;
      ++expected[match == 0   ? "no match in any head"
                 : is_open    ? "head match of 64 or more"
                 : match == 1 ? "head match of 1"
                              : base::concat("head match of ", low, " to ", 2 * low - 1)];
    }
  }
  EXPECT_GT(expected.size(), 1u);
  int64_t num_matched = 0, num_distances = 0;
  for (const SuiteRow& one : result.rows) {
    if (one.variant != "window") continue;  // the groups are those of the student's matches for every variant
    if (one.group.starts_with("head match at distance ")) num_distances += one.num_tokens;
    if (one.group.starts_with("head match of ")) num_matched += one.num_tokens;
    if (!one.group.starts_with("head match of ") && one.group != "no match in any head") continue;
    EXPECT_EQ(one.num_tokens, expected[one.group]) << one.group;
    expected.erase(one.group);
  }
  EXPECT_TRUE(expected.empty());
  EXPECT_EQ(num_distances, num_matched);
  for (const SuiteRow& one : run(1, {"window"}).rows) EXPECT_FALSE(one.group.starts_with("head ")) << one.group;
}

TEST_F(SuiteOfARun, HeldOutTextsOfSourcesAreScoredApart) {
  suite_.tasks = {task_of(SuiteTaskKind::language)};
  const auto write = [this](const std::string& name, int64_t stride) {
    constexpr int64_t kVocabulary = 211;
    const std::string path = folder_ / (name + ".tokens");
    TokenFileWriter writer(path, kVocabulary, {});
    Tokens tokens;
    for (int64_t i = 0; i < 10 * 24; ++i) tokens.push_back(i * stride % kVocabulary);
    writer.add_document(tokens);
    writer.finish();
    return path;
  };
  config_.data = {.kind = DataKind::token_file, .sequence_length = 24};
  config_.data.sources = {{.path = write("plain", 1), .held_out_path = write("coarse", 7)},
                          {.path = write("other", 2), .name = "no text of its own"}};
  config_.data.held_out_path = write("held_out", 3);
  const SuiteResult mixed = run(2);
  const SuiteRow& source = row(mixed, "language", 24, "rosa", "source plain");
  const SuiteRow own = row(mixed, "language", 24, "rosa");
  config_.data.held_out_path = config_.data.sources[0].held_out_path;
  const SuiteRow alone = row(run(), "language", 24, "rosa");
  EXPECT_EQ(source.num_tokens, alone.num_tokens);
  EXPECT_EQ(source.figure("ce")->value, alone.figure("ce")->value);
  EXPECT_EQ(source.figure("kl")->value, alone.figure("kl")->value);
  EXPECT_NE(source.figure("ce")->value, own.figure("ce")->value);
  for (const SuiteRow& one : mixed.rows) EXPECT_NE(one.group, "source no text of its own");
}

// Of documents of 8 tokens, three in each sequence, intervals are over all 3 times as many; figures stay as they are.
TEST_F(SuiteOfARun, IntervalsOfPackedTextAreOverItsDocuments) {
  suite_.tasks = {task_of(SuiteTaskKind::language)};
  const std::string path = folder_ / "text.tokens";
  constexpr int64_t kVocabulary = 211;
  TokenFileWriter writer(path, kVocabulary, {});
  for (int64_t first = 0; first < 6 * 24; first += 8) {
    Tokens document;
    for (int64_t i = 0; i < 8; ++i) document.push_back((first * 5 + i * i) % kVocabulary);
    writer.add_document(document);
  }
  writer.finish();
  config_.data = {.kind = DataKind::token_file, .sequence_length = 24};
  config_.data.train_path = config_.data.held_out_path = path;
  config_.evaluation.num_sequences = 4;  // too few for an interval over sequences
  const SuiteResult result = run(2);
  const SuiteRow& all = row(result, "language", 24, "rosa");
  EXPECT_EQ(all.num_sequences, 4);
  EXPECT_EQ(all.num_documents, 12);
  EXPECT_EQ(all.num_tokens, 12 * 7);
  ASSERT_TRUE(all.figure("ce")->interval.has_value());
  EXPECT_LT(all.figure("ce")->interval->low, all.figure("ce")->value);
  EXPECT_GT(all.figure("ce")->interval->high, all.figure("ce")->value);
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config_, Objective::distill, *single);
  EXPECT_NEAR(all.figure("ce")->value, evaluate_variants(config_, objects.parts(*single), {"rosa"}).at("rosa").ce(),
              1e-5);
  EXPECT_EQ(bits(result), bits(run(1)));
}

TEST_F(SuiteOfARun, AnyNumberOfRanksGivesTheSameFigures) { EXPECT_EQ(bits(run(3)), bits(run(1))); }

// What `result` says of the same as `row` of another one.
const SuiteRow& same_row(const SuiteResult& result, const SuiteRow& row) {
  return *std::find_if(result.rows.begin(), result.rows.end(), [&](const SuiteRow& candidate) {
    return candidate.task == row.task && candidate.length == row.length && candidate.variant == row.variant &&
           candidate.group == row.group && candidate.depth == row.depth;
  });
}

TEST_F(SuiteOfARun, AStreamedTextHasTheScoresOfTheWholeOne) {
  const SuiteResult whole = run();
  suite_.whole_max = 60;
  const SuiteResult streamed = run();
  suite_.controls_max = 96;
  const SuiteResult controlled = run();
  int64_t num_controls = 0;
  for (const SuiteRow& one : controlled.rows) {
    if (one.length != 96 || !one.variant.starts_with("rosa_")) continue;
    const SuiteRow& other = same_row(whole, one);
    EXPECT_NEAR(one.figure("ce")->value, other.figure("ce")->value, 1e-5) << one.task << " " << one.variant;
    ++num_controls;
  }
  EXPECT_GE(num_controls, 3);
  int64_t num_streamed = 0;
  for (const SuiteRow& one : streamed.rows) {
    if (one.length != 96 || one.task == "language") continue;
    EXPECT_FALSE(one.variant.starts_with("rosa_")) << "the controls are not streamed";
    const SuiteRow& other = same_row(whole, one);
    EXPECT_NEAR(one.figure("ce")->value, other.figure("ce")->value, 1e-5) << one.task << " " << one.variant;
    if (one.task == "length" && one.group == "all") {
      EXPECT_GT(one.figure("state_bytes_per_token")->value, 0.0);
      ++num_streamed;
    }
  }
  EXPECT_EQ(num_streamed, 3);  // teacher, window, rosa
}

TEST_F(SuiteOfARun, TheTeacherIsLeftOutBeyondItsLimit) {
  suite_.teacher_max = 48;
  const SuiteResult result = run();
  for (const SuiteRow& one : result.rows) EXPECT_FALSE(one.variant == "teacher" && one.length > 48);
  EXPECT_NE(row(result, "length", 48, "teacher").figure("ce"), nullptr);
  EXPECT_THAT(suite_tables(result), HasSubstr("needle: answers that are right"));
}

TEST_F(SuiteOfARun, AStopLeavesItOnAllRanksAndPiecesOfAStreamAreProgress) {
  suite_.tasks.erase(suite_.tasks.begin());
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    const RunObjects objects = build_run(config_, Objective::distill, communicator);
    const auto stop = [&] { return communicator.rank() == 1; };
    EXPECT_FALSE(run_suite(suite_, config_, objects.parts(communicator), {"rosa"}, {}, stop).is_complete);
  });
  suite_.tasks = {task_of(SuiteTaskKind::length)};
  suite_.tasks[0].lengths = {5000};
  suite_.tasks[0].count = 1;
  const int64_t before = base::current_activity().progress;
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config_, Objective::distill, *single);
  std::vector<int64_t> tokens;
  const auto note = [&](const SuitePlace& place) {
    EXPECT_EQ(place.task, "length");
    if (place.num_tokens > 0) {
      EXPECT_EQ(std::pair(place.variant, place.num_tokens), std::pair(std::string("rosa"), int64_t{5000}));
      tokens.push_back(place.num_tokens_done);
    }
  };
  EXPECT_TRUE(run_suite(suite_, config_, objects.parts(*single), {"rosa"}, note).is_complete);
  EXPECT_EQ(tokens, (std::vector<int64_t>{2048, 4096, 5000}));
  EXPECT_GE(base::current_activity().progress - before, 3);
}

TEST(SuiteConfig, AKeyThatATaskHasNoUseForIsRefused) {
  SuiteConfig suite;
  suite.tasks = {task_of(SuiteTaskKind::language)};
  suite.tasks[0].num_hops = 2;
  try {
    base::require_good(suite);
    FAIL();
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("tasks[0].num_hops: the task language has no use for it"));
  }
}

TEST_F(SuiteOfARun, AFileTooShortForALengthIsNamedBeforeTheWork) {
  std::ofstream(folder_ / "short.txt") << std::string(60, 'a') + std::string(10, 'b');
  config_.data.kind = DataKind::crops;
  config_.data.train_path = config_.data.held_out_path = folder_ / "short.txt";
  config_.data.vocabulary_size = 0;
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(tiny_config(folder_ / "run"), Objective::distill, *single);
  try {
    run_suite(suite_, config_, objects.parts(*single), {"rosa"});
    FAIL();
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the suite asks for sequences of 96 tokens"));
    EXPECT_THAT(error.what(), HasSubstr("short.txt"));
  }
}

}  // namespace
}  // namespace rosa::training
