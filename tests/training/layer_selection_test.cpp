// The choice of layers: greedy steps against a search over all students, budgets, and figures of a small model against
// students that are built with these layers from the start.
#include "training/suite/layer_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/error.h"
#include "parallel/thread_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/suite/selection_measure.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr LayerKind kWindow = LayerKind::window, kRosa = LayerKind::rosa, kGlobal = LayerKind::global;
const LayerKinds kThreeWindows(4, kWindow);

// Every layer takes away its own share, and ROSA three quarters of that.
std::vector<double> additive_kl(const std::vector<LayerKinds>& students) {
  const std::vector<double> gains = {0.2, 0.5, 0.3, 0.0};
  std::vector<double> kls;
  for (const LayerKinds& kinds : students) {
    double kl = 1.0;
    for (size_t i = 0; i < kinds.size(); ++i) {
      kl -= kinds[i] == kGlobal ? gains[i] : kinds[i] == kRosa ? 0.75 * gains[i] : 0.0;
    }
    kls.push_back(kl);
  }
  return kls;
}

StateCosts costs_with_rosa(double rosa_bytes) {
  return {.global_bytes = 100.0, .rosa_bytes = {rosa_bytes, rosa_bytes, std::nullopt, std::nullopt}};
}

LayerSelection select(double budget, double rosa_bytes = 60.0, int64_t max_forwards = 0) {
  return select_layers({.budget = budget, .max_forwards = max_forwards}, costs_with_rosa(rosa_bytes), kThreeWindows,
                       additive_kl);
}

TEST(SelectLayers, TakesTheLargestDropForEachByteFirst) {
  // 0.375 for 60 bytes beats 0.5 for 100.
  const LayerSelection cheap = select(60.0);
  EXPECT_THAT(cheap.kinds, ElementsAre(kWindow, kRosa, kWindow, kWindow));
  EXPECT_DOUBLE_EQ(cheap.kl, 0.625);
  EXPECT_EQ(cheap.end, SelectionEnd::nothing_fits);
  // ... but not for 80.
  EXPECT_THAT(select(100.0, 80.0).kinds, ElementsAre(kWindow, kGlobal, kWindow, kWindow));
  // What costs nothing comes first, the largest drop of them before the others.
  const LayerSelection free = select(100.0, 0.0);
  ASSERT_EQ(free.changes.size(), 3u);
  EXPECT_EQ(free.changes[0].layer, 1);
  EXPECT_EQ(free.changes[1].layer, 0);
  EXPECT_THAT(free.kinds, ElementsAre(kRosa, kRosa, kGlobal, kWindow));
}

TEST(SelectLayers, KeepsTheBudgetAndTakesAllWhereItHoldsAll) {
  for (double budget = 60.0; budget < 400.0; budget += 20.0) {
    const LayerSelection selection = select(budget);
    EXPECT_LE(selection.bytes, budget);
    EXPECT_DOUBLE_EQ(selection.bytes, costs_with_rosa(60.0).bytes_of(selection.kinds));
    EXPECT_DOUBLE_EQ(selection.kl, additive_kl({selection.kinds})[0]);
  }
  // ROSA gives way to global attention in the end.
  EXPECT_THAT(select(1e9).kinds, ElementsAre(kGlobal, kGlobal, kGlobal, kWindow));
  EXPECT_NEAR(select(1e9).kl, 0.0, 1e-12);
  EXPECT_EQ(select(1e9).end, SelectionEnd::nothing_left);
}

// Alone no layer helps: only all of them together do.
TEST(SelectLayers, StopsWhereNothingImprovesButLooksAtAllGlobal) {
  const auto stubborn = [](const std::vector<LayerKinds>& students) {
    std::vector<double> kls;
    for (const LayerKinds& kinds : students)
      kls.push_back(std::count(kinds.begin(), kinds.end(), kGlobal) == 3 ? 0 : 1);
    return kls;
  };
  const StateCosts costs = costs_with_rosa(60.0);
  const LayerSelection small = select_layers({.budget = 299.0}, costs, kThreeWindows, stubborn);
  EXPECT_THAT(small.changes, IsEmpty());
  EXPECT_EQ(small.end, SelectionEnd::nothing_improves);
  EXPECT_EQ(small.kinds, kThreeWindows);
  const LayerSelection large = select_layers({.budget = 300.0}, costs, kThreeWindows, stubborn);
  EXPECT_TRUE(large.all_global);
  EXPECT_EQ(large.kl, 0.0);
  EXPECT_THAT(selection_table(large, costs), HasSubstr("global attention in all layers"));
}

TEST(SelectLayers, RoundsEndAtTheLimitOfForwards) {
  // The start, then 3 global and 2 ROSA; the second round takes 4, ROSA in layer 1 may become global.
  const LayerSelection selection = select(1e9, 60.0, 9);
  EXPECT_EQ(selection.num_forwards, 6);
  EXPECT_EQ(selection.changes.size(), 1u);
  EXPECT_EQ(selection.end, SelectionEnd::max_forwards);
  EXPECT_EQ(select(1e9, 60.0, 10).changes.size(), 2u);
}

TEST(SelectLayers, SaysWhatIsWrong) {
  for (const double budget : {-1.0, 0.0, 59.0, std::numeric_limits<double>::quiet_NaN()}) {
    try {
      select(budget);
      FAIL() << budget;
    } catch (const base::ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("below the cheapest choice, 60 (ROSA in one layer)"));
    }
  }
  EXPECT_THROW(select_layers({.budget = 1e3}, costs_with_rosa(60.0), {kGlobal, kGlobal, kGlobal, kWindow}, additive_kl),
               base::ConfigError);
  const auto broken = [](const std::vector<LayerKinds>& students) {
    return std::vector<double>(students.size(), std::numeric_limits<double>::quiet_NaN());
  };
  EXPECT_THROW(select_layers({.budget = 1e3}, costs_with_rosa(60.0), kThreeWindows, broken), base::NumericError);
}

TEST(SelectLayers, AnEmptyListOfAdaptersIsNotWritten) {
  EXPECT_THAT(selection_yaml(select(60.0)), HasSubstr("global_layers: []\nadapter:\n  layers: [1]\n"));
  EXPECT_THAT(selection_yaml(select(1e9)), HasSubstr("global_layers: [0, 1, 2]\n# adapter.layers: no layer"));
}

class SelectionOfAModel : public ::testing::Test {
 protected:
  SelectionOfAModel() : config_(tiny_config(folder_ / "run")) {
    config_.adapter.zero_output_start = false;
    config_.train.micro_batch_sequences = 2;
    config_.loss.chunk_tokens = 7;
    objects_ = build(*communicator_);
  }
  RunObjects build(parallel::Communicator& communicator) const {
    return build_run(config_, Objective::distill, communicator, {.training = false});
  }
  // All students of three layers, without an adapter before the final norm.
  static std::vector<LayerKinds> all_students() {
    std::vector<LayerKinds> all;
    for (const LayerKind first : {kWindow, kRosa, kGlobal}) {
      for (const LayerKind second : {kWindow, kRosa, kGlobal}) {
        for (const LayerKind third : {kWindow, kRosa, kGlobal}) all.push_back({first, second, third, kWindow});
      }
    }
    return all;
  }
  // Of a student that has adapters in its own layers only, by whole distributions.
  double plain_kl(const LayerKinds& kinds) const {
    const at::NoGradGuard no_gradient;
    RunConfig config = config_;
    config.adapter.layers.clear();
    for (size_t layer = 0; layer < 3; ++layer) {
      if (kinds[layer] == kRosa) config.adapter.layers.push_back(static_cast<int64_t>(layer));
      if (kinds[layer] == kGlobal) config.student.global_layers.push_back(static_cast<int64_t>(layer));
    }
    const models::CausalModel& model = *objects_.model;
    models::ForwardOptions options = student_options(config, model, nullptr, *objects_.executor);
    std::optional<models::AdapterSet> adapters;
    if (!config.adapter.layers.empty()) options.adapters = &adapters.emplace(config.adapter, model.config(), 3);
    const Batch batch = HeldOutSequences(config, *objects_.held_out_data).batch(0, config.evaluation.num_sequences);
    const auto log_probabilities = [&](const at::Tensor& hidden) {
      return model.logits(hidden.slice(1, 0, -1)).to(at::kDouble).log_softmax(-1);
    };
    const at::Tensor teacher = log_probabilities(model.hidden_states(batch.input_ids));
    const at::Tensor student = log_probabilities(model.hidden_states(batch.input_ids, options));
    return (teacher.exp() * (teacher - student)).sum(-1).mean().item<double>();
  }

  const rosa::testing::TemporaryFolder folder_;
  RunConfig config_;
  std::unique_ptr<parallel::Communicator> communicator_ = parallel::make_single_communicator();
  RunObjects objects_;
};

TEST_F(SelectionOfAModel, MeasuresStudentsAsTheyWouldBeBuiltAndPicksTheBestSingleChange) {
  const RunParts parts = objects_.parts(*communicator_);
  const SelectionMeasure measure(config_, parts);
  EXPECT_EQ(measure.num_tokens(), 5 * 23);
  const std::vector<LayerKinds> students = all_students();
  const std::vector<double> kls = measure.kl(students);
  for (size_t i = 0; i < students.size(); ++i) EXPECT_NEAR(kls[i], plain_kl(students[i]), 1e-6) << i;
  EXPECT_NEAR(kls.back(), 0.0, 1e-9);
  EXPECT_GT(kls.front(), 1e-4);

  const CountedCosts counted = count_costs(config_, parts, 60);
  EXPECT_EQ(counted.costs.global_bytes, 2 * 2 * 32 * 4);
  EXPECT_EQ(counted.num_tokens, 72) << "whole sequences";
  EXPECT_THAT(counted.silent_layers, IsEmpty());
  EXPECT_FALSE(counted.costs.rosa_bytes[3].has_value());
  const auto measured = [&](const std::vector<LayerKinds>& some) { return measure.kl(some); };
  const LayerSelection one =
      select_layers({.budget = 1e9, .max_forwards = 7}, counted.costs, bare_layers(config_, 3), measured);
  double best = 0.0;
  LayerKinds best_kinds;
  for (size_t i = 0; i < students.size(); ++i) {
    if (std::count(students[i].begin(), students[i].end(), kWindow) != 3) continue;
    const double worth = (kls[0] - kls[i]) / counted.costs.bytes_of(students[i]);
    if (worth <= best) continue;
    best = worth;
    best_kinds = students[i];
  }
  EXPECT_EQ(one.kinds, best_kinds);
  const LayerSelection all = select_layers({.budget = 1e9}, counted.costs, bare_layers(config_, 3), measured);
  EXPECT_THAT(all.layers_of(kGlobal), ElementsAre(0, 1, 2));
}

TEST_F(SelectionOfAModel, GivesTheSameOnTwoRanks) {
  const std::vector<LayerKinds> students = all_students();
  const RunParts parts = objects_.parts(*communicator_);
  const std::vector<double> alone = SelectionMeasure(config_, parts).kl(students);
  const CountedCosts costs = count_costs(config_, parts, 60);
  auto ranks = parallel::make_thread_communicators(2);
  RunObjects first = build(*communicator_), second = build(*communicator_);
  std::array<std::vector<double>, 2> results;
  std::array<CountedCosts, 2> counted;
  const auto run = [&](size_t rank, const RunObjects& objects) {
    const RunParts own = objects.parts(*ranks[rank]);
    counted[rank] = count_costs(config_, own, 60);
    results[rank] = SelectionMeasure(config_, own).kl(students);
  };
  std::thread other([&] { run(1, second); });
  run(0, first);
  other.join();
  EXPECT_EQ(results[0], alone);
  EXPECT_EQ(results[1], alone);
  for (const CountedCosts& one : counted) EXPECT_EQ(one.costs.rosa_bytes, costs.costs.rosa_bytes);
}

TEST_F(SelectionOfAModel, AdaptersThatAddNothingAreNoChoiceAndGlobalWindowsStay) {
  config_.adapter.zero_output_start = true;
  config_.student.layer_windows = {6, 0, 6};
  const RunObjects fresh = build(*communicator_);
  const CountedCosts counted = count_costs(config_, fresh.parts(*communicator_), 60);
  EXPECT_THAT(counted.silent_layers, ElementsAre(0, 1, 2));
  EXPECT_THAT(counted.costs.rosa_bytes, ::testing::Each(std::optional<double>()));
  EXPECT_THAT(bare_layers(config_, 3), ElementsAre(kWindow, kGlobal, kWindow, kWindow));
}

}  // namespace
}  // namespace rosa::training
