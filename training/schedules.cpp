#include "training/schedules.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rosa::training {

using base::Role;

void describe(base::FieldVisitor& visitor, ScheduleConfig& config) {
  visitor.choice<ScheduleShape>("shape", config.shape, Role::recipe,
                                {{"constant", ScheduleShape::constant},
                                 {"linear", ScheduleShape::linear},
                                 {"cosine", ScheduleShape::cosine},
                                 {"exponential", ScheduleShape::exponential}},
                                "how the value goes from start to end (constant: it stays at start)");
  visitor.field("start", config.start, Role::recipe, "value after the warm-up");
  visitor.field("end", config.end, Role::recipe, "value after the decay; unused by constant");
  visitor.field("warmup_steps", config.warmup_steps, Role::recipe,
                "steps in which the value rises linearly from 0 to start", {0});
  visitor.field("delay_steps", config.delay_steps, Role::recipe, "steps at start before the decay begins", {0});
  visitor.field("decay_steps", config.decay_steps, Role::recipe, "steps of the decay; 0: what is left of the run", {0});
  visitor.field("lag_steps", config.lag_steps, Role::recipe,
                "step s uses the value of step s - lag_steps (rosa_soft's alpha: 1)", {0});
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

}  // namespace rosa::training
