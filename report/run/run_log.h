// What the logs of a run's ranks tell that its metrics don't: where it was resumed, rolled back, warned or failed.
#pragma once

#include <filesystem>
#include <vector>

#include "report/run/training_run.h"

namespace rosa::report {

// From logs/rank_*.log and logs/failure_*.txt of a run's folder, in their order. A line that is no line of a log tells
// nothing. Throws FileError.
std::vector<Event> read_run_logs(const std::filesystem::path& run_folder);

}  // namespace rosa::report
