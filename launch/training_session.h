// Trains in a session: logs, progress display, metrics file, stop signals. What `rosa train`, `pretrain` and `demo`
// share.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "launch/run_config_file.h"
#include "launch/session.h"
#include "training/run.h"

namespace rosa::launch {

struct SessionOptions {
  std::set<std::string> accept_changed = {};     // what may differ from the checkpoint (training/run_identity.h)
  std::optional<int64_t> num_steps_at_end = {};  // stops after so many steps of the run, which it saves
  // The steps of a run that has been made already: no metrics.jsonl, and nothing that changed may be accepted.
  bool is_rehearsal = false;
};

// run.folder must be set. Collective: every rank calls it. Throws what training throws.
training::RunOutcome train_in_session(Session& session, const LoadedConfig& loaded, training::Objective objective,
                                      const SessionOptions& options = {});

}  // namespace rosa::launch
