// The guardian of a rank: a small process beside it that kills it when it stands still (SIGSTOP) and nobody is left to
// see that. The watchdogs of the other ranks (parallel/watchdog.h) are faster and say more, but end with their ranks; a
// launcher waits for a stopped process for ever. It also bounds the time from the end of a rank's work to the end of
// its process. It dies with the rank, whatever the rank dies of, and is stopped with it where the whole process group
// is (job control).
#pragma once

namespace rosa::launch {

// Its process is called so.
inline constexpr const char* kGuardianName = "rosa-guardian";

// Forks the guardian of this process; what it says begins with `who` ("rank 1 on node2"). It kills the process once
// that has been stopped for `limit_s` seconds (0: never) in one go. Call it once, on the main thread and before there
// are others. Where no process can be made, there is no guardian and a warning.
void start_guardian(const char* who, double limit_s);

// From now on another limit. Without a guardian these two do nothing.
void set_guardian_limit(double limit_s);

// All that is left to this process is to end: from now on the limit is for that, stopped or not.
void guardian_expects_the_end();

}  // namespace rosa::launch
