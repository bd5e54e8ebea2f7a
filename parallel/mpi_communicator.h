// MpiCommunicator: the collectives over MPI, for tensors in host memory. Needs a living MpiSession.
// MPI errors come back as CommunicationError; elements beyond the range of an int travel in several messages.
#pragma once

#include <cstdint>
#include <memory>

#include "parallel/communicator.h"

namespace rosa::parallel {

struct MpiOptions {
  int64_t max_message_bytes = int64_t{1} << 30;  // larger transfers are cut; at most 2^31 - 1
};

// Returns a communicator over all processes of the job, on a channel of its own. The local rank counts
// the processes that share memory. Collective: every rank calls it. The destructor is collective too, except while an
// exception unwinds the stack. With MPI_THREAD_MULTIPLE different communicators may be used by different threads.
std::unique_ptr<Communicator> make_mpi_communicator(const MpiOptions& options = {});

}  // namespace rosa::parallel
