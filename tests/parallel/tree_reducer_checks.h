// What the tree reducer must do over any communicator.
#pragma once

#include "communicator_checks.h"

namespace rosa::parallel {

const std::vector<CommunicatorCheck>& tree_reducer_checks();

}  // namespace rosa::parallel
