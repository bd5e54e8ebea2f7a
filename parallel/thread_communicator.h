// ThreadCommunicator: a group whose ranks are threads of this process, for tests. Each collective is checked across
// ranks, and a rank that fails makes the collectives of the others throw, so that no test hangs.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace rosa::parallel {

// Returns the communicators of a group of `num_ranks` ranks; element r is to be used by one thread only.
// Sums are taken in rank order. abort() makes the collectives of all ranks throw CommunicationError, and throws.
std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int num_ranks);

// Runs `body` once a rank, each on its own thread, and returns when all have ended. If ranks throw, the group is
// aborted and the first error (not one caused by the abort) is thrown again.
void run_on_thread_ranks(int num_ranks, const std::function<void(Communicator&)>& body);

}  // namespace rosa::parallel
