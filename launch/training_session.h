// Trains in a session: logs, progress display, metrics file, stop signals. What `rosa train`, `pretrain` and `demo`
// share.
#pragma once

#include <set>
#include <string>

#include "launch/run_config_file.h"
#include "launch/session.h"
#include "training/run.h"

namespace rosa::launch {

// run.folder must be set. `accept_changed`: what may differ from the checkpoint (training/run_identity.h).
// Collective: every rank calls it. Throws what training throws.
training::RunOutcome train_in_session(Session& session, const LoadedConfig& loaded, training::Objective objective,
                                      const std::set<std::string>& accept_changed = {});

}  // namespace rosa::launch
