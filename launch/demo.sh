#!/usr/bin/env bash
# Sets up, builds, and runs the demo: two MPI ranks distil the demo students and the program prints what ROSA closed of
# the gap between window and teacher. Interrupt it and start it again whenever you like: it goes on where it was.
#   ./launch/demo.sh                  everything (about 5 minutes on two cores after the build)
#   ./launch/demo.sh --parts phrases  one part; the options are those of `rosa demo --help`: --folder, --configs,
#                                     --parts, --set
# Variables: ROSA_RANKS (default 2), and those of launch/setup.sh.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/mpi_run.sh"

# Before minutes of building: are these options those of `rosa demo`?
check_options() {
  local expects=
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help) print_help "$0"; exit 0 ;;
      --folder | --configs | --parts | --set) [ $# -gt 1 ] || usage_error "$1 takes a value"; expects=$1; shift ;;
      --folder=* | --configs=* | --parts=* | --set=*) expects=${1%%=*} ;;
      -*) usage_error "unknown option $1" ;;
      *) [ "$expects" = --set ] || usage_error "unexpected argument '$1'" ;;
    esac
    shift
  done
}
check_options "$@"
source "$launch_folder/setup.sh"

prepare rosa
ranks=${ROSA_RANKS:-2}
find_mpi_run "$ranks"
cd "$rosa_root"
say "rosa demo on $ranks ranks (Ctrl-C saves and stops; the same command goes on)"

status=0
run_ranks "${mpi_run[@]}" build/bin/rosa demo "$@" || status=$?
if [ "$status" = 75 ]; then note "stopped; ./launch/demo.sh goes on from the last checkpoint"; fi
exit "$status"
