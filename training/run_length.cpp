#include "training/run_length.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "training/data/data_source.h"

namespace rosa::training {

std::string RunLength::text(double num_epochs) const {
  return base::concat(num_steps, ": train.num_epochs ", num_epochs, " of ", num_sequences, " sequences");
}

RunLength length_of_epochs(const RunConfig& config) {
  DataConfig data = config.data;
  data.verify_tokens = false;
  const int64_t per_step = config.train.micro_batches * config.train.micro_batch_sequences;
  const auto source = make_data_source(data, DataSplit::train, static_cast<uint64_t>(config.run.seed), per_step);
  const bool has_epochs = data.kind == DataKind::token_file && data.sources.empty();
  const int64_t num_sequences = has_epochs ? source->num_sequences_of_file().value_or(0) : 0;
  base::require<base::ConfigError>(num_sequences > 0, "train.num_epochs is ", config.train.num_epochs,
                                   ", but this data has no epochs; give train.num_steps");
  // What is left by rounding, as in 0.1 * 10, makes no step.
  const double steps = config.train.num_epochs * static_cast<double>(num_sequences) / static_cast<double>(per_step);
  const double whole = std::ceil(steps * (1.0 - 1e-12));
  base::require<base::ConfigError>(whole <= static_cast<double>(base::kMaxSteps), "train.num_epochs is ",
                                   config.train.num_epochs, ", which makes ", whole, " steps; expected at most ",
                                   base::kMaxSteps);
  return {std::max<int64_t>(1, static_cast<int64_t>(whole)), num_sequences};
}

void set_num_steps(RunConfig& config, const RunLength& length) {
  config.train.num_steps = length.num_steps;
  config.train.num_epochs = 0;
}

}  // namespace rosa::training
