#include "training/automaton_threads.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/cores.h"
#include "base/error.h"
#include "base/host_name.h"

namespace rosa::training {

int num_automaton_threads(const ComputeSection& compute, parallel::Communicator& communicator) {
  const base::CoreLimits own = base::read_core_limits();
  const std::string place = base::concat(base::host_name(), "\n");
  std::vector<std::string> ranks_of_host;
  for (const std::string& rank : communicator.all_gather_text(place + base::to_text(own))) {
    if (rank.starts_with(place)) ranks_of_host.push_back(rank.substr(place.size()));
  }
  if (compute.automaton_threads > 0) return static_cast<int>(compute.automaton_threads);
  return std::max(1, base::share_of_cores(own, ranks_of_host) - static_cast<int>(compute.threads));
}

}  // namespace rosa::training
