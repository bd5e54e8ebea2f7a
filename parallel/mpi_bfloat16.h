// Reductions of bfloat16, which MPI does not know. Internal to the MPI backend.
#pragma once

#include <mpi.h>

#include "parallel/communicator.h"

namespace rosa::parallel {

// The MPI operation on bfloat16 elements that travel as MPI_UINT16_T; each result is rounded to the nearest bfloat16.
// Made at the first call, which needs a living MpiSession, and kept.
MPI_Op bfloat16_operation(Reduction reduction);

}  // namespace rosa::parallel
