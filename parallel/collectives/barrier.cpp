#include "parallel/communicator.h"

namespace rosa::parallel {

void Communicator::barrier() { barrier_async()->wait(); }

std::unique_ptr<Work> Communicator::barrier_async() {
  return run({.operation = "barrier"}, [&] { return start_barrier(); });
}

}  // namespace rosa::parallel
