// The guardian of a rank: a small process beside it. It kills the rank when it stands still (SIGSTOP) and nobody is
// left to see that: the watchdogs of the other ranks (parallel/watchdog.h) are faster and say more, but come after
// MPI's start and end with their ranks; a launcher waits for a stopped process for ever. It bounds the time from the
// end of a rank's work to the end of its process. It kills another rank of the host that was stopped before that had a
// guardian. And it names a rank that is gone without a word (SIGKILL). It ends with the rank, whatever that ends of;
// where the whole process group is stopped (job control), it is stopped too.
#pragma once

namespace rosa::launch {

// Its process is called so.
inline constexpr const char* kGuardianName = "rosa-guardian";

// Forks the guardian of this process; what it says begins with `who` ("rank 1 on node2"). It kills the process once
// that has been stopped for `limit_s` seconds (0: never) in one go. Call it once, first in main (after
// prepare_last_word): on the main thread, before there are others. Where no process can be made, there is no guardian
// and a warning.
void start_guardian(const char* who, double limit_s);

// Without a guardian these do nothing; all but the first may be called in signal handlers.

// From now on another limit.
void set_guardian_limit(double limit_s);

// All that is left to this process is to end: from now on the limit is for that, stopped or not.
void guardian_expects_the_end();

// This process ends as it should, or has said why it ends: its guardian has nothing to add.
void guardian_is_silent_from_now_on();

// This process was told to end (TERM): a launcher that means it sends KILL some seconds later.
void guardian_expects_a_kill();

}  // namespace rosa::launch
