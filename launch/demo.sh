#!/usr/bin/env bash
# Sets up, builds, and runs the demo: two MPI ranks distil the demo students and the program prints what ROSA closed of
# the gap between window and teacher. Interrupt it and start it again whenever you like: it goes on where it was.
#   ./launch/demo.sh                  everything (8 to 10 minutes on two cores after the build)
#   ./launch/demo.sh --parts phrases  one part; further options are those of `rosa demo --help`
# Variables: ROSA_RANKS (default 2), and those of launch/setup.sh.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
source "$rosa_root/launch/mpi_run.sh"

prepare rosa
ranks=${ROSA_RANKS:-2}
find_mpi_run "$ranks"
cd "$rosa_root"
say "rosa demo on $ranks ranks (Ctrl-C saves and stops; the same command goes on)"

status=0
run_ranks "${mpi_run[@]}" build/bin/rosa demo "$@" || status=$?
if [ "$status" = 75 ]; then note "stopped; ./launch/demo.sh goes on from the last checkpoint"; fi
exit "$status"
