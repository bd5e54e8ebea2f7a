// Threads that wait for each other in parallel loops give their core away soon.
#pragma once

#include <string_view>

namespace rosa::launch {

// GNU's OpenMP lets waiting threads spin for milliseconds by default. Where others want the cores too, a step then
// takes several times as long. It reads its setting as it is loaded, before main: so this sets it (GOMP_SPINCOUNT,
// unless that or OMP_WAIT_POLICY is set) and starts this program anew in the same process, for subcommands that
// compute. Returns where nothing is to be done, or where that fails. To be called before anything else.
void bound_waits_of_threads(std::string_view subcommand, char** argv);

}  // namespace rosa::launch
