#include "report/run/figure_info.h"

#include "base/run_figures.h"
#include "report/numbers.h"
#include "report/run/training_run.h"

namespace rosa::report {
namespace {

constexpr double kMebibyte = 1 << 20;

struct Drawing {
  FigureFormat format = FigureFormat::number;
  BestValue best = BestValue::none;
  bool is_noisy = false, is_logarithmic = false;
};
constexpr Drawing kNoisyLowest = {.best = BestValue::lowest, .is_noisy = true};
constexpr Drawing kNoisyShare = {.format = FigureFormat::share, .best = BestValue::lowest, .is_noisy = true};
constexpr Drawing kCount = {.format = FigureFormat::count};
constexpr Drawing kMebibytes = {.format = FigureFormat::mebibytes};

FigureInfo info_of(const base::RunFigure& figure, const Drawing& drawing = {}) {
  std::string unit(drawing.format == FigureFormat::mebibytes ? "MiB"
                   : figure.unit.empty()                     ? figure.title
                                                             : figure.unit);
  if (drawing.is_logarithmic) unit += "; logarithmic";
  return {std::string(figure.name), std::string(figure.title), std::move(unit), drawing.format, drawing.best,
          drawing.is_noisy,         drawing.is_logarithmic};
}

}  // namespace

const std::vector<FigureSection>& step_sections() {
  using namespace base::step_figure;  // NOLINT(google-build-using-namespace): their names alone
  static const std::vector<FigureSection> kSections = {
      {"Loss",
       "Over the whole batch of a step.",
       {info_of(kLoss, kNoisyLowest), info_of(kKl, kNoisyLowest), info_of(kCe, kNoisyLowest),
        info_of(kAlignment, kNoisyLowest), info_of(kCodeBalance, kNoisyLowest),
        info_of(kCodeConsistency, kNoisyLowest)},
       true},
      {"Gradient",
       "The norm before clipping. A skipped step has not changed the weights.",
       {info_of(kGradientNorm, {.is_noisy = true, .is_logarithmic = true}), info_of(kNumSkipped, kCount),
        info_of(kNumSpikes, kCount)},
       true},
      {"Schedules", "", {info_of(kLearningRate), info_of(kAlpha), info_of(kBitsTau), info_of(kAttnTau)}},
      {"Speed",
       "Times are those of rank 0.",
       {info_of(kTokensPerSecond, {.best = BestValue::highest, .is_noisy = true}), info_of(kStepMs, kNoisyLowest),
        info_of(kTflopsPerSecond, {.best = BestValue::highest, .is_noisy = true}),
        info_of(kFlopUse, {.format = FigureFormat::share, .best = BestValue::highest, .is_noisy = true}),
        info_of(kModelTflops), info_of(kMatchWaitMs, kNoisyLowest), info_of(kMatchWaitShare, kNoisyShare),
        info_of(kCommunicationWaitMs, kNoisyLowest), info_of(kGradientCommunicationMs, kNoisyLowest),
        info_of(kExposedCommunication, kNoisyShare), info_of(kBaseGatherWaitMs, kNoisyLowest)}},
      {"Memory",
       "",
       {info_of(kMemoryBytes, kMebibytes), info_of(kProportionalBytes, kMebibytes),
        info_of(kOptimizerBytes, kMebibytes), info_of(kDeviceAllocatedBytes, kMebibytes),
        info_of(kDeviceReservedBytes, kMebibytes), info_of(kDevicePeakBytes, kMebibytes),
        info_of(kBasePartBytes, kMebibytes), info_of(kBaseGatherBytes, kMebibytes)}},
  };
  return kSections;
}

const std::vector<FigureInfo>& evaluation_figures() {
  using namespace base::evaluation_figure;  // NOLINT(google-build-using-namespace): their names alone
  static const std::vector<FigureInfo> kFigures = {
      info_of(kCe, {.best = BestValue::lowest}),
      info_of(kPerplexity, {.best = BestValue::lowest, .is_logarithmic = true}), info_of(kNumTokens, kCount),
      info_of(kNumSequences, kCount)};
  return kFigures;
}

const FigureInfo& source_loss_figure() {
  static const FigureInfo kFigure = info_of(base::source_figure::kLoss, {.is_noisy = true});
  return kFigure;
}

const std::vector<FigureInfo>& layer_figures() {
  static const std::vector<FigureInfo> kFigures = [] {
    std::vector<FigureInfo> figures;
    for (const base::RunFigure& figure : kLayerFigures) {
      figures.push_back(
          info_of(figure, {.format = figure.unit.starts_with("share") ? FigureFormat::share : FigureFormat::number}));
    }
    return figures;
  }();
  return kFigures;
}

std::string value_text(const FigureInfo& info, double value) {
  switch (info.format) {
    case FigureFormat::share:
      return percent(value);
    case FigureFormat::count:
      return fixed(value, 0);
    case FigureFormat::mebibytes:
    case FigureFormat::number:
      break;
  }
  return significant(axis_value(info, value), 4);
}

double axis_value(const FigureInfo& info, double value) {
  return info.format == FigureFormat::mebibytes ? value / kMebibyte : value;
}

}  // namespace rosa::report
