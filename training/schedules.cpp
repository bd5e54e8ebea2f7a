#include "training/schedules.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

namespace rosa::training {

using base::Role;

namespace {

// Of any quantity; each has a narrower range of its own.
constexpr base::Range<double> kValues{-1e9, 1e9};

}  // namespace

void describe(base::FieldVisitor& visitor, ScheduleConfig& config) {
  visitor.choice<ScheduleShape>("shape", config.shape, Role::recipe,
                                {{"constant", ScheduleShape::constant},
                                 {"linear", ScheduleShape::linear},
                                 {"cosine", ScheduleShape::cosine},
                                 {"exponential", ScheduleShape::exponential}},
                                "how the value goes from start to end (constant: it stays at start)");
  visitor.field("start", config.start, Role::recipe, "value after the warm-up", kValues);
  visitor.field("end", config.end, Role::recipe, "value after the decay; unused by constant", kValues);
  visitor.field("warmup_steps", config.warmup_steps, Role::recipe,
                "steps in which the value rises linearly from 0 to start", {0, base::kMaxSteps});
  visitor.field("delay_steps", config.delay_steps, Role::recipe, "steps at start before the decay begins",
                {0, base::kMaxSteps});
  visitor.field("decay_steps", config.decay_steps, Role::recipe, "steps of the decay; 0: what is left of the run",
                {0, base::kMaxSteps});
  visitor.field("lag_steps", config.lag_steps, Role::recipe,
                "step s uses the value of step s - lag_steps (rosa_soft's alpha: 1)", {0, base::kMaxSteps});
}

double decay(ScheduleShape shape, double start, double end, int64_t step, int64_t num_steps) {
  const double progress =
      num_steps <= 0 ? 1.0 : std::clamp(static_cast<double>(step) / static_cast<double>(num_steps), 0.0, 1.0);
  double value = start;
  switch (shape) {
    case ScheduleShape::constant:
      return start;
    case ScheduleShape::linear:
      value = start - progress * (start - end);
      break;
    case ScheduleShape::cosine:
      value = end + (start - end) * (1.0 + std::cos(std::numbers::pi * progress)) / 2.0;
      break;
    case ScheduleShape::exponential:
      base::require(start * end > 0, "exponential decay from ", start, " to ", end,
                    ": both must be non-zero and of one sign");
      value = start * std::pow(end / start, progress);
      break;
  }
  return std::clamp(value, std::min(start, end), std::max(start, end));
}

double schedule_value(const ScheduleConfig& config, int64_t step, int64_t num_steps) {
  const int64_t s = std::max<int64_t>(step - config.lag_steps, 0);
  if (s < config.warmup_steps) return config.start * static_cast<double>(s) / static_cast<double>(config.warmup_steps);
  const int64_t decay_start = config.warmup_steps + config.delay_steps;
  const int64_t decay_steps = config.decay_steps > 0 ? config.decay_steps : num_steps - decay_start;
  return decay(config.shape, config.start, config.end, std::max<int64_t>(s - decay_start, 0), decay_steps);
}

void check(base::ConfigProblems& problems, const ScheduleConfig& config, int64_t num_steps,
           base::Range<double> allowed) {
  const bool has_way = (config.start > 0 && config.end > 0) || (config.start < 0 && config.end < 0);
  if (config.shape == ScheduleShape::exponential && !has_way) {
    problems.add({config.start == 0 ? "start" : "end", "shape", "start", "end"},
                 "exponential goes from start to end by ", "equal factors, which there are not from ", config.start,
                 " to ", config.end, "; both must be above 0, or take shape linear or cosine");
    return;
  }
  // Between these the way is monotone.
  const int64_t decay_start = config.warmup_steps + config.delay_steps;
  std::set<int64_t> steps;
  for (const int64_t s :
       {int64_t{0}, config.warmup_steps - 1, config.warmup_steps, decay_start, decay_start + config.decay_steps}) {
    steps.insert(std::clamp<int64_t>(s + config.lag_steps, 0, num_steps - 1));
  }
  steps.insert({0, num_steps - 1});
  for (const int64_t step : steps) {
    const double value = schedule_value(config, step, num_steps);
    if (value >= allowed.min && value <= allowed.max) continue;
    const bool in_warmup = step - config.lag_steps < config.warmup_steps;
    const bool is_start_good = config.start >= allowed.min && config.start <= allowed.max;
    const char* key = !is_start_good ? "start" : in_warmup ? "warmup_steps" : "end";
    problems.add({key, "start", "end", "shape", "warmup_steps", "decay_steps"}, "the value at step ", step, " of ",
                 num_steps, " is ", value, ", expected ", allowed.min, " to ", allowed.max, " along the whole run",
                 in_warmup && is_start_good ? "; a warm-up begins at 0" : "");
    return;
  }
}

}  // namespace rosa::training
