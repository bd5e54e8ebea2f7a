// ConsumedLog: a data source that writes down which samples were taken from it, to show that a run, however often
// stopped and on however many ranks, consumes each sample once. One file a rank: rank_NNNN.jsonl, a line a batch:
// {"step":3,"samples":[24,25]}, where sample i of step s of a global batch of n samples has the number s n + i.
#pragma once

#include <filesystem>
#include <mutex>
#include <optional>

#include "base/line_file.h"
#include "parallel/communicator.h"
#include "training/data/shifted_source.h"
#include "training/progress.h"

namespace rosa::training {

class ConsumedLog : public ShiftedSource {
 public:
  // `source` outlives it. In a stage that begins later, step and number go on where the stage before it ended.
  ConsumedLog(const DataSource& source, std::filesystem::path folder, int64_t samples_per_step,
              const StagePlace& place);

  // Opens this rank's file, after the lines of steps from `first_step` on, which are done again, are dropped from the
  // files of all ranks, also of earlier runs with more of them. To be called before the first batch(), and again when
  // the run goes back to an earlier step. Later a full disk or a file that is removed is a warning (base/line_file.h).
  // Collective: every rank calls it. Throws FileError, and DataError, naming file and line, where a file is damaged.
  void start(int64_t first_step, parallel::Communicator& communicator);

  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override;

 private:
  void drop_lines_from(int64_t first_step) const;

  std::filesystem::path folder_;
  int64_t samples_per_step_;
  StagePlace place_;
  mutable std::mutex mutex_;
  mutable std::optional<base::LineFile> lines_;
};

}  // namespace rosa::training
