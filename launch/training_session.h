// Trains in a session: logs, progress display, metrics file, stop signals. What `rosa train`, `pretrain` and `demo`
// share.
#pragma once

#include "launch/run_config_file.h"
#include "launch/session.h"
#include "training/run.h"

namespace rosa::launch {

// run.folder must be set. Collective: every rank calls it. Throws what training throws.
training::RunOutcome train_in_session(Session& session, const LoadedConfig& loaded, training::Objective objective);

}  // namespace rosa::launch
