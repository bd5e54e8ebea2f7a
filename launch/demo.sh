#!/usr/bin/env bash
# Sets up, builds, and runs the demo: two MPI ranks distil the demo students and the program prints what ROSA closed of
# the gap between window and teacher. Interrupt it and start it again whenever you like: it goes on where it was.
#   ./launch/demo.sh                  everything (about 8 minutes on two cores after the build)
#   ./launch/demo.sh --parts phrases  one part; further options are those of `rosa demo --help`
# Variables: ROSA_RANKS (default 2), and those of launch/setup.sh.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

prepare rosa
ranks=${ROSA_RANKS:-2}
find_mpi_run "$ranks"
cd "$rosa_root"
say "rosa demo on $ranks ranks (Ctrl-C saves and stops; the same command goes on)"

# mpirun kills its ranks soon after Ctrl-C or TERM, perhaps in the middle of a step. It forwards USR1, which asks
# them to save and stop. It runs in a session of its own so that the terminal's Ctrl-C comes here only.
setsid "${mpi_run[@]}" build/bin/rosa demo "$@" </dev/null &
job=$!
stops=0
stop() {
  stops=$((stops + 1))
  if [ "$stops" = 1 ]; then
    note "stopping after this step; once more ends it at once"
    kill -USR1 "$job" 2>/dev/null || true
  else
    kill -TERM "$job" 2>/dev/null || true
  fi
}
trap stop INT TERM HUP

status=0
while true; do
  status=0
  wait "$job" || status=$?
  # A signal interrupts wait before the job has ended.
  kill -0 "$job" 2>/dev/null || break
done
if [ "$stops" != 0 ]; then
  note "stopped; ./launch/demo.sh goes on from the last checkpoint"
fi
exit "$status"
