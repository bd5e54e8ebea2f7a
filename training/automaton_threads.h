// How many threads a rank matches with, when the configuration leaves it open.
#pragma once

#include "parallel/communicator.h"
#include "training/config.h"

namespace rosa::training {

// compute.automaton_threads. Where that is 0: the rank's share of the node's cores less its compute threads, at least
// 1. Compute threads match too while they wait, so both together fill the share. Collective: every rank calls it.
int num_automaton_threads(const ComputeSection& compute, parallel::Communicator& communicator);

}  // namespace rosa::training
