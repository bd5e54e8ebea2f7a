// What this process is before MPI says so: its rank by the launcher's environment, its terminal, and the
// requests to stop that signals bring.
#pragma once

#include <string>

namespace rosa::launch {

// The rank that mpirun or srun gave this process; 0 without a launcher.
int rank_of_process();

// Where progress can be drawn: whether standard error ends in a terminal (mpirun's own, under mpirun), and its width.
struct Terminal {
  bool is_terminal = false;
  int num_columns = 80;
};
Terminal find_terminal();

// From now on TERM, INT and USR1 ask for a stop (stop_requested) instead of ending the process; a second INT ends it.
void listen_for_stop_signals();
bool stop_requested();

}  // namespace rosa::launch
