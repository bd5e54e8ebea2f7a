// The length of a run that is given in epochs.
#pragma once

#include <cstdint>
#include <string>

#include "training/config.h"

namespace rosa::training {

struct RunLength {
  int64_t num_steps = 0;
  int64_t num_sequences = 0;  // of the token file, in an epoch

  // "312: train.num_epochs 2 of 9984 sequences".
  std::string text(double num_epochs) const;
};

// The steps in which train.num_epochs (above 0) of the training file are seen: the last one is filled up from the next
// epoch. Opens the file and reads none of its tokens. Throws ConfigError for data without epochs, FileError and
// DataError as make_data_source does.
RunLength length_of_epochs(const RunConfig& config);

// Puts the steps in the place of the epochs: num_epochs is 0 then.
void set_num_steps(RunConfig& config, const RunLength& length);

}  // namespace rosa::training
