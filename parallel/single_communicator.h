// SingleCommunicator: the collectives of a group of one rank. Needs no launcher and no library.
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace rosa::parallel {

// Returns a communicator of one rank; it serves tensors of every device.
std::unique_ptr<Communicator> make_single_communicator();

}  // namespace rosa::parallel
