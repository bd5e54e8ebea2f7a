// What both modes of the gradient reducer must do over any communicator.
#pragma once

#include "communicator_checks.h"

namespace rosa::parallel {

const std::vector<CommunicatorCheck>& reducer_checks();

}  // namespace rosa::parallel
