// The texts of the progress display.
#include "launch/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <sstream>

#include "base/log.h"

namespace rosa::launch {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

training::StepMetrics example() {
  training::StepMetrics metrics;
  metrics.step = 299;
  metrics.num_steps = 600;
  metrics.loss = 1.23456;
  metrics.kl = 1.1;
  metrics.ce = 1.3;
  metrics.learning_rate = 9.8e-4;
  metrics.alpha = 1.0;
  metrics.step_ms = 100;
  metrics.tokens_per_second = 12345;
  return metrics;
}

TEST(Progress, Durations) {
  EXPECT_EQ(duration_text(7.4), "0:07");
  EXPECT_EQ(duration_text(725), "12:05");
  EXPECT_EQ(duration_text(12000), "3:20:00");
  EXPECT_EQ(duration_text(-1), "0:00");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::infinity()), "?");
}

TEST(Progress, Counts) {
  EXPECT_EQ(count_text(950), "950");
  EXPECT_EQ(count_text(12345), "12.3k");
  EXPECT_EQ(count_text(1.25e6), "1.2M");
}

TEST(Progress, TheLineShowsLossPartsAlphaRateThroughputAndEta) {
  EXPECT_EQ(step_text(example(), 30),
            "loss 1.2346 (kl 1.1000, ce 1.3000)  alpha 1.00  lr 9.8e-04  12.3k tok/s  ETA 0:30");
  training::StepMetrics only_ce = example();
  only_ce.kl = 0;
  training::StepMetrics other = example();
  other.divergence = "reverse_kl(top_k=32)";
  EXPECT_THAT(step_text(other, 30), HasSubstr("(reverse_kl(top_k=32) 1.1000, ce 1.3000)"));
  EXPECT_THAT(step_text(only_ce, 30), HasSubstr("loss 1.2346 (ce 1.3000)  alpha"));
}

TEST(Progress, SourcesOfAMixture) {
  std::vector<training::SourceMetrics> sources = {{.name = "web", .loss = 1.23456, .num_sequences = 3},
                                                  {.name = "code", .loss = 0.5, .num_sequences = 0},
                                                  {.name = "chat", .loss = 2, .num_sequences = 1}};
  EXPECT_EQ(sources_text({}), "");
  EXPECT_EQ(sources_text(sources), "web 1.2346, chat 2.0000");
  for (int i = 0; i < 4; ++i) sources.push_back(sources.front());
  EXPECT_EQ(sources_text(sources), "web 1.2346, chat 2.0000, web 1.2346, web 1.2346 and 2 more");
  EXPECT_THAT(bar_text(example(), 30, 140, "web 1.2346"), HasSubstr("ETA 0:30  web 1.2346"));
  EXPECT_EQ(bar_text(example(), 30, 80, "web 1.2346"), bar_text(example(), 30, 80));
  for (int columns = 1; columns < 180; ++columns) {
    EXPECT_LT(bar_text(example(), 30, columns, "web 1.2346").size(), static_cast<std::size_t>(columns)) << columns;
  }
}

TEST(Progress, TheBarFitsTheTerminalAndShrinksToNothing) {
  const std::string wide = bar_text(example(), 30, 140);
  EXPECT_THAT(wide, HasSubstr("300/600  50%  [===============>              ]  loss"));
  for (const int columns : {140, 120, 100, 80, 40, 10, 1}) {
    EXPECT_LT(bar_text(example(), 30, columns).size(), static_cast<std::size_t>(columns)) << columns;
  }
  EXPECT_EQ(bar_text(example(), 30, 102).find('['), std::string::npos);
  EXPECT_THAT(bar_text(example(), 30, 102), HasSubstr("(kl 1.1000, ce 1.3000)"));
  EXPECT_EQ(bar_text(example(), 30, 80), "300/600  50%  loss 1.2346  alpha 1.00  lr 9.8e-04  12.3k tok/s  ETA 0:30");
}

TEST(Progress, TheScreenShowsTimeByPartMemoryAndWhatHappenedLast) {
  training::StepMetrics metrics = example();
  metrics.match_wait_ms = 12;
  metrics.communication_wait_ms = 5.25;
  metrics.memory_bytes = int64_t{512} << 20;
  metrics.tflops_per_second = 0.42;
  EXPECT_EQ(
      screen_text(metrics, {}, 30, 140),
      bar_text(metrics, 30, 140) +
          "\n  step 100 ms: 12 ms (12%) waiting for automata, 5.2 ms (5%) communication, 83 ms (83%) rest\n  0.42 "
          "TFLOP/s;  memory 512 MiB\n  no evaluation yet;  nothing saved yet;  0 warnings");
  const RunNews news{.last_evaluation = training::EvaluationMetrics{200, 1.5, 4.4817, 1000, 8},
                     .last_saved_step = 250,
                     .num_warnings = 1};
  EXPECT_THAT(screen_text(metrics, news, 30, 140),
              HasSubstr("\n  evaluation after step 200: cross-entropy 1.5000, perplexity 4.482;  saved step 250;  1 "
                        "warning"));
  training::StepMetrics on_gpu = metrics;
  on_gpu.flop_use = 0.17;
  on_gpu.device_allocated_bytes = int64_t{3} << 30;
  on_gpu.device_peak_bytes = int64_t{4} << 30;
  EXPECT_THAT(screen_text(on_gpu, news, 30, 140),
              HasSubstr("\n  0.42 TFLOP/s (17% of peak);  memory 512 MiB;  device 3.0 GiB, at most 4.0 GiB\n"));
  for (const int columns : {140, 100, 40, 1}) {
    std::istringstream lines(screen_text(metrics, news, 30, columns));
    for (std::string line; std::getline(lines, line);) EXPECT_LT(line.size(), static_cast<std::size_t>(columns));
  }
  EXPECT_TRUE(fits_screen({.is_terminal = true, .num_columns = 120, .num_rows = 40}));
  EXPECT_FALSE(fits_screen({.is_terminal = true, .num_columns = 80, .num_rows = 40}));
  EXPECT_FALSE(fits_screen({.is_terminal = true, .num_columns = 120, .num_rows = 8}));
}

TEST(Progress, AFileGetsFewLines) {
  std::vector<std::string> lines;
  base::LogOptions options;
  options.console = [&lines](const std::string& line) { lines.push_back(line); };
  base::start_log(options);
  ProgressDisplay display(Terminal{}, 3600);
  display.on_start(10, 600);
  for (int64_t step = 10; step < 600; ++step) {
    training::StepMetrics metrics = example();
    metrics.step = step;
    display.on_step(metrics);
  }
  display.on_evaluation({600, 1.5, 4.48, 1000, 8});
  display.on_end();
  base::start_log({});
  ASSERT_THAT(lines, SizeIs(4));
  EXPECT_THAT(lines[0], HasSubstr("going on from step 10 of 600"));
  EXPECT_THAT(lines[1], HasSubstr("step  11/600  loss 1.2346"));
  EXPECT_THAT(lines[1], HasSubstr("ETA 0:59"));
  EXPECT_THAT(lines[2], HasSubstr("step 600/600"));
  EXPECT_THAT(
      lines[3],
      HasSubstr("evaluation after step 600: cross-entropy 1.5000, perplexity 4.480 (1000 tokens of 8 sequences)"));
}

TEST(Progress, ARunThatIsDoneSaysSoAndHowToTrainLonger) {
  std::vector<std::string> lines;
  base::LogOptions options;
  options.console = [&lines](const std::string& line) { lines.push_back(line); };
  base::start_log(options);
  ProgressDisplay display(Terminal{}, 3600);
  display.on_start(60, 60);
  display.on_start(62, 60);
  display.on_start(59, 60);
  base::start_log({});
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_THAT(lines[0],
              HasSubstr("the run is done: it has made 60 of 60 steps. To train longer: --set train.num_steps=N"));
  EXPECT_THAT(lines[1], HasSubstr("the run is done: it has made 62 of 60 steps."));
  EXPECT_THAT(lines[2], HasSubstr("going on from step 59 of 60"));
}

}  // namespace
}  // namespace rosa::launch
