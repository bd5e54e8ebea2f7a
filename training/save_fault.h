// Faults on demand at the named points of a save, for tests (docs/testing.md): the environment variable
// ROSA_SAVE_FAULT says what happens where. Without it nothing does.
//
//   ROSA_SAVE_FAULT="kill at renamed rank 1 save 2; sleep 500 at written"
//
// An action (kill: SIGKILL of this process; fail: a FileError; sleep N: milliseconds; signal N: raised in this
// process), a point, or its part before ':' for all points that begin so ("written" for "written:state.json"), and
// optionally a rank (default: every rank) and which save of this process (from 1; default: every one).
#pragma once

#include <string>

#include "training/checkpoint.h"

namespace rosa::training {

// The points, in order. On every rank: snapshot; then in the background folder, writing:FILE and written:FILE for each
// file, share (all files of this rank are durable). On rank 0: gathered, manifest, synced, replaced (only where a
// checkpoint of the same step is there), renamed, durable, recorded; removing and removed for each checkpoint that
// retention removes; retained. Where a resumed run begins another line: setting_aside:FOLDER for each checkpoint that
// is moved, set_aside.
inline constexpr const char* kSaveFaultVariable = "ROSA_SAVE_FAULT";

// An observer that does what `specification` says on `rank`; none for an empty one. Throws ConfigError for a
// specification that can't be understood.
SaveObserver save_faults(const std::string& specification, int rank);

// The same with the environment's specification.
SaveObserver save_faults_of_environment(int rank);

}  // namespace rosa::training
