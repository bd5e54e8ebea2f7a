#include "training/progress.h"

#include <string>
#include <utility>
#include <variant>

#include "base/error.h"

namespace rosa::training {
namespace {

int64_t integer_of(const base::StateDict& state, const char* name) {
  const auto found = state.values.find(name);
  base::require<base::CheckpointError>(found != state.values.end() && std::holds_alternative<int64_t>(found->second),
                                       "the checkpoint holds no integer '", name, "'");
  return std::get<int64_t>(found->second);
}

}  // namespace

StagePlace place_of(const base::StateDict& state) {
  if (!state.values.contains("stage")) return {};
  const StagePlace place = {.index = integer_of(state, "stage"),
                            .first_step = integer_of(state, "stage_first_step"),
                            .first_sample = integer_of(state, "stage_first_sample"),
                            .first_data_step = integer_of(state, "stage_first_data_step")};
  const bool is_good = place.index >= 0 && place.first_step >= 0 && place.first_sample >= 0 &&
                       place.first_data_step >= 0 && place.first_data_step <= place.first_step;
  base::require<base::CheckpointError>(is_good, "the checkpoint's place in the stages is impossible: stage ",
                                       place.index, " from step ", place.first_step);
  return place;
}

base::StateDict Progress::save_state() const {
  base::StateDict state;
  state.values["num_steps_done"] = num_steps_done;
  state.values["num_samples_done"] = num_samples_done();  // the global position in the data
  if (place.index == 0) return state;                     // as of a run without stages
  state.values["stage"] = place.index;
  state.values["stage_first_step"] = place.first_step;
  state.values["stage_first_sample"] = place.first_sample;
  state.values["stage_first_data_step"] = place.first_data_step;
  return state;
}

void Progress::load_state(const base::StateDict& state) {
  place = place_of(state);
  num_steps_done = integer_of(state, "num_steps_done");
}

}  // namespace rosa::training
