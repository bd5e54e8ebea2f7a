#!/usr/bin/env bash
# What the scripts that start ranks share: the options of the mpirun that is there, the program, and how signals reach
# the ranks. Sourced by demo.sh, bench.sh, run_local.sh, run_hosts.sh and rosa.sbatch; does nothing by itself.
#
# An option that is also in the environment (OMPI_MCA_...) is left out, so that the environment decides.

launch_folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# A closed input or output would become one of mpirun's own pipes, and what ranks print its orders. bash leaves its
# script open in place of a closed one.
is_closed() { [ ! -L "/proc/$$/fd/$1" ] || [ "/proc/$$/fd/$1" -ef "$0" ]; }
if is_closed 0; then exec </dev/null; fi
if is_closed 1; then exec >/dev/null; fi
if is_closed 2; then exec 2>/dev/null; fi

# Both end the script with one line: a wrong command line with rosa's exit code for it, or CODE (docs/running.md).
usage_error() {
  printf '%s: %s (--help explains)\n' "$(basename "$0")" "$1" >&2
  exit 2
}
launch_error() {  # CODE WHAT
  printf '%s: %s\n' "$(basename "$0")" "$2" >&2
  exit "$1"
}

# print_help SCRIPT: its opening comment.
print_help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"; }

# only_help ARGUMENT...: of a script without options. Asked for help it prints that and ends; anything else is refused.
only_help() {
  case "${1:-}" in
    "") [ $# = 0 ] || usage_error "unexpected argument ''" ;;
    -h | --help) print_help "$0"; exit 0 ;;
    -*) usage_error "unknown option $1" ;;
    *) usage_error "unexpected argument '$1'" ;;
  esac
}

# find_program: sets rosa_program: ROSA_PROGRAM, the checkout's build/bin/rosa, or rosa on PATH.
find_program() {
  rosa_program=${ROSA_PROGRAM:-}
  if [ -n "$rosa_program" ]; then
    [ -x "$rosa_program" ] || usage_error "ROSA_PROGRAM=$rosa_program is not a program"
  elif [ -x "$launch_folder/../build/bin/rosa" ]; then
    rosa_program=$(cd "$launch_folder/.." && pwd)/build/bin/rosa
  else
    rosa_program=$(command -v rosa) ||
      usage_error "found no rosa: build it (launch/setup.sh), put it on PATH, or set ROSA_PROGRAM"
  fi
}

# need_whole_number OPTION VALUE
need_whole_number() {
  case "$2" in
    "" | 0* | *[!0-9]* | ??????*) usage_error "$1 takes a whole number from 1 to 99999, got '$2'" ;;
  esac
}

# find_mpirun: sets mpirun (a path where its own daemon must be found by it) and mpi_kind: openmpi4, openmpi5 or other.
find_mpirun() {
  mpirun=$(command -v mpirun) || usage_error "there is no mpirun on PATH"
  # Called by its path, mpirun looks for its daemons and libraries beside it on the other hosts too.
  case "$mpirun" in /usr/bin/* | /bin/*) mpirun=mpirun ;; esac
  case "$("$mpirun" --version 2>/dev/null | head -n 1)" in
    *"Open MPI"*" 5."*) mpi_kind=openmpi5 ;;
    *"Open MPI"*) mpi_kind=openmpi4 ;;
    *) mpi_kind=other ;;  # MPICH and its like neither bind nor count slots by default
  esac
}

# add_parameter NAME VALUE: one of Open MPI's parameters, in mpi_run.
add_parameter() {
  local in_environment=OMPI_MCA_$1
  if [ -n "${!in_environment:-}" ]; then return 0; fi
  # Open MPI 5 leaves starting and watching processes to PRRTE, which has parameters of its own.
  case "$mpi_kind:$1" in
    openmpi5:oob_* | openmpi5:odls_* | openmpi5:plm_*) mpi_run+=(--prtemca "$1" "$2") ;;
    *) mpi_run+=(--mca "$1" "$2") ;;
  esac
}

# add_common_options OVERSUBSCRIBED(yes|no): what ranks of rosa need wherever they run, in mpi_run.
add_common_options() {
  if [ "$mpi_kind" = other ]; then return 0; fi
  mpi_run+=(--bind-to none)  # by default a rank is bound to one core, which starves its automaton threads
  if [ "$(id -u)" = 0 ]; then mpi_run+=(--allow-run-as-root); fi
  if [ "$1" = yes ]; then add_parameter mpi_yield_when_idle 1; fi  # waiting ranks give their core away
  # When a rank fails, or mpirun gets TERM, the others get TERM after this many seconds and KILL after as many again.
  # Longer gives a TERM that bypasses these scripts more time to save, but leaves a failed job's ranks longer.
  add_parameter odls_base_sigkill_timeout 2
}

# The cores this process may use. nproc alone would answer with OMP_NUM_THREADS where that is set.
num_cores() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

# find_mpi_run RANKS: sets mpi_run, mpirun with the options for that many ranks on this machine.
find_mpi_run() {
  local oversubscribed=no
  find_mpirun
  if [ "$1" -gt "$(num_cores)" ]; then oversubscribed=yes; fi
  mpi_run=("$mpirun" -np "$1")
  add_common_options "$oversubscribed"
  case "$mpi_kind" in
    # What mpirun would say behind rosa's last word tells nothing more here: the program is there, slots do not matter.
    openmpi4) mpi_run+=(--oversubscribe --quiet) ;;
    openmpi5) mpi_run+=(--map-by :OVERSUBSCRIBE) ;;
  esac
}

# quote WORD: as any POSIX shell reads it. `printf %q` would write $'...' for what is not ASCII, which sh does not know.
quote() {
  local LC_ALL=C
  case "$1" in
    "" | *[!A-Za-z0-9_@%+=:,./-]*) printf "'%s'" "${1//\'/\'\\\'\'}" ;;
    *) printf '%s' "$1" ;;
  esac
}

# print_command COMMAND...: so that a shell reads the same words again.
print_command() {
  local word words=
  for word in "$@"; do words+="${words:+ }$(quote "$word")"; done
  printf '%s\n' "$words"
}

# run_ranks COMMAND...: runs mpirun or srun and returns its exit code. INT, TERM, HUP and USR1 to this script become USR1
# for it, which it hands to the ranks: they save and end with 75. mpirun itself would kill them soon after TERM or
# Ctrl-C. A second INT ends the job at once.
run_ranks() {
  local job status interrupts=0 stops=0 guard=() word saves=""
  for word in "$@"; do
    case "$word" in train | pretrain | experiment | demo) saves=" after this step with a checkpoint" ;; esac
  done
  # Without this script the job must not go on unwatched: USR1 comes to it also when the script is killed.
  if command -v setpriv >/dev/null 2>&1; then guard=(setpriv --pdeathsig USR1); fi
  # A session of its own: the terminal's Ctrl-C comes here only.
  setsid "${guard[@]}" "$@" </dev/null &
  job=$!
  trap 'interrupts=$((interrupts + 1)); stop_ranks' INT
  trap stop_ranks TERM HUP USR1
  while true; do
    status=0
    wait "$job" || status=$?
    # A signal interrupts wait before the job has ended.
    kill -0 "$job" 2>/dev/null || break
  done
  trap - INT TERM HUP USR1
  # 138: mpirun or a rank got USR1 before it could listen, so there was nothing to save.
  if [ "$stops" != 0 ] && [ "$status" = 138 ]; then status=75; fi
  if [ "$stops" = 0 ] && [ "$status" -gt 128 ] && [ "$status" -lt 160 ]; then explain_signal "$((status - 128))"; fi
  return "$status"
}

# explain_signal NUMBER: nobody else does where the only rank is killed.
explain_signal() {
  local why=
  if [ "$1" = 9 ]; then why="; where nobody sent it, the memory was too small (dmesg says so)"; fi
  printf '%s: a process of the job was ended by the signal %s%s\n' \
    "$(basename "$0")" "$(kill -l "$1" 2>/dev/null || echo "$1")" "$why" >&2
}

# The trap of run_ranks, with its variables. Slurm may send the same signal several times.
stop_ranks() {
  stops=$((stops + 1))
  if [ "$interrupts" -gt 1 ]; then
    kill -TERM "$job" 2>/dev/null || true
    return 0
  fi
  if [ "$stops" = 1 ]; then echo "stopping$saves; Ctrl-C twice ends at once" >&2; fi
  kill -USR1 "$job" 2>/dev/null || true
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then only_help "$@"; fi
