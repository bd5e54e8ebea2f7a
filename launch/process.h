// What this process is before MPI says so: its rank by the launcher's environment, its terminal, and the
// requests to stop that signals bring.
#pragma once

#include <string>

namespace rosa::launch {

// The rank that mpirun or srun gave this process; 0 without a launcher.
int rank_of_process();

// Where progress can be drawn: whether standard error ends in a terminal (mpirun's own, under mpirun), and its size.
struct Terminal {
  bool is_terminal = false;
  int num_columns = 80;
  int num_rows = 24;
};
Terminal find_terminal();

// What signals do while there is nothing to save: TERM, HUP and USR1 end the process at once with kExitStopped and a
// line that says so; INT too where `with_interrupts` (else it is left to the system). HUP that nohup ignores stays
// ignored.
void end_on_stop_signals(bool with_interrupts);

// From now on TERM, INT, HUP and USR1 ask for a stop (stop_requested), and a line says at once what will happen; a
// second INT ends the process.
void listen_for_stop_signals();
// From now on TERM, INT, HUP and USR1 only ask for a stop, in silence, and end a wait in a system call: what is half
// written must go first. Those that are ignored stay so.
void note_stop_signals();
// After note_stop_signals(): waits so many seconds for a request to stop, and whether one has come.
bool wait_for_stop(int seconds);
bool stop_requested();
// The signal that asked for it, or 0.
int stop_signal();

}  // namespace rosa::launch
