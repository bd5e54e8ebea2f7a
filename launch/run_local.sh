#!/usr/bin/env bash
# Runs rosa on several ranks of this machine.
#
#   launch/run_local.sh [-n RANKS] [--print] SUBCOMMAND ARGUMENT...
#   launch/run_local.sh -n 2 train run.yaml --set train.num_steps=5000
#
#   -n RANKS   how many ranks (default: one a GPU where nvidia-smi shows some, else 1)
#   --print    show the mpirun command, and do not run it
#
# Ctrl-C or TERM: the run saves after the step and ends with exit code 75; the same command goes on. Ctrl-C twice ends it
# at once. The exit code is rosa's (docs/running.md).
# Variables: ROSA_PROGRAM (default: build/bin/rosa of this checkout, then PATH), OMPI_MCA_... (before the script's own).
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/mpi_run.sh"

ranks=
print=no
while [ $# -gt 0 ]; do
  case "$1" in
    -n) need_whole_number -n "${2:-}"; ranks=$2; shift 2 ;;
    --print) print=yes; shift ;;
    -h | --help) print_help "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) usage_error "unknown option $1" ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || usage_error "which subcommand of rosa? (train run.yaml)"
if [ -z "$ranks" ]; then
  ranks=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU') || ranks=1
fi

find_program
find_mpi_run "$ranks"
if [ "$print" = yes ]; then
  print_command "${mpi_run[@]}" "$rosa_program" "$@"
  exit 0
fi
run_ranks "${mpi_run[@]}" "$rosa_program" "$@"
