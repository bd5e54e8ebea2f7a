// Progress: how far a run is, and with it where it is in its stages and its data. Saved with every checkpoint.
#pragma once

#include <cstdint>

#include "base/stateful.h"

namespace rosa::training {

// Where a stage of a run begins. In a run without stages all is 0.
struct StagePlace {
  int64_t index = 0;            // of the stage
  int64_t first_step = 0;       // of the run
  int64_t first_sample = 0;     // of the run
  int64_t first_data_step = 0;  // the step of the run that is step 0 of the stage's data
};

class Progress : public base::Stateful {
 public:
  base::StateDict save_state() const override;
  // Throws CheckpointError for a state of another form.
  void load_state(const base::StateDict& state) override;

  // Steps of the stage that are done.
  int64_t num_steps_of_stage() const { return num_steps_done - place.first_step; }
  int64_t num_samples_done() const { return place.first_sample + num_steps_of_stage() * samples_per_step; }

  int64_t num_steps_done = 0;    // of the run
  int64_t samples_per_step = 0;  // in this stage
  StagePlace place;
};

// The place that a saved state of Progress tells. Throws as load_state() does.
StagePlace place_of(const base::StateDict& state);

}  // namespace rosa::training
