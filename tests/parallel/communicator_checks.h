// The one suite that every communicator must pass, whatever carries it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace rosa::parallel {

struct CommunicatorCheck {
  std::string name;
  std::function<void(Communicator&)> run;  // called by every rank of a group
};

const std::vector<CommunicatorCheck>& communicator_checks();

// What debug mode must catch: ranks that call different collectives, or none. Some of it waits for a time limit.
const std::vector<CommunicatorCheck>& misuse_checks();

}  // namespace rosa::parallel
