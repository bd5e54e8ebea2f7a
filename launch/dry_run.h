// `rosa train --dry-run`: what a run needs, tried out on the ranks it would have, and a report. Nothing stays behind:
// the steps it takes are thrown away and its checkpoint is deleted.
#pragma once

#include <set>
#include <string>

#include "launch/run_config_file.h"
#include "launch/session.h"
#include "training/run.h"

namespace rosa::launch {

// Compares the ranks (configuration, program, CPU capability, clocks, data, weights), checks and times every
// collective, loads model and data, takes two steps, writes a checkpoint that every rank verifies, and estimates memory
// (beside what `rosa plan` computes) and disk. Rank 0 reports to standard output. run.folder must be set. Throws what
// the run itself would throw; what only looks wrong is a warning in the report. Collective: every rank calls it.
void dry_run(Session& session, const LoadedConfig& loaded, training::Objective objective,
             const std::set<std::string>& accept_changed);

}  // namespace rosa::launch
