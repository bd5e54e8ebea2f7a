// The one place that turns an MPI error code into an exception.
#pragma once

#include <string>

namespace rosa::parallel {

// Throws CommunicationError naming the call, MPI's text for `code` and the place ("rank 1 of 4"), unless code is
// MPI_SUCCESS.
void check_mpi(int code, const char* call, const std::string& place);

}  // namespace rosa::parallel
