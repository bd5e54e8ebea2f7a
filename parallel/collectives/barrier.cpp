#include "parallel/communicator.h"

namespace rosa::parallel {

void Communicator::barrier() {
  run({.operation = "barrier"}, [&] { return start_barrier(); })->wait();
}

}  // namespace rosa::parallel
