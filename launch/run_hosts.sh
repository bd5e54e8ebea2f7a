#!/usr/bin/env bash
# Runs rosa on several hosts that this one reaches with ssh (without a password) and that share a file system.
#
#   launch/run_hosts.sh --hosts FILE|NAME,NAME... [-n RANKS] [option...] SUBCOMMAND ARGUMENT...
#   launch/run_hosts.sh --hosts node1,node2 -n 4 train run.yaml
#
#   --hosts FILE|LIST    a file with a host a line ("node1" or "node1 slots=4", # comments), or names with commas
#   -n RANKS             ranks of a host that has no slots= of its own (default: its GPUs, or 1)
#   --network CIDR|NAME  the network between the hosts: 10.1.0.0/16 or an interface that all have (default: Open MPI's
#                        choice, which may take one that does not lead to the other hosts)
#   --agent COMMAND      in place of ssh: COMMAND HOST SHELL_COMMAND
#   --print              show the mpirun command, and do not run it
#
# Every host is asked first whether it answers, and has this folder and the program at the same path.
# Ctrl-C or TERM: the run saves after the step and ends with exit code 75; the same command goes on. Ctrl-C twice ends it
# at once. A host that is cut off ends the job in about half a minute. The exit code is rosa's (docs/running.md), or
# mpirun's where a host was lost (205).
# Variables: ROSA_PROGRAM (default: build/bin/rosa of this checkout, then PATH), OMPI_MCA_... (before the script's own).
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/mpi_run.sh"

hosts_option=
ranks=
network=
agent=
print=no
while [ $# -gt 0 ]; do
  case "$1" in
    --hosts) hosts_option=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
    -n) need_whole_number -n "${2:-}"; ranks=$2; shift 2 ;;
    --network) network=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
    --agent) agent=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
    --print) print=yes; shift ;;
    -h | --help) print_help "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) usage_error "unknown option $1" ;;
    *) break ;;
  esac
done
[ -n "$hosts_option" ] || usage_error "which hosts? (--hosts node1,node2)"
[ $# -gt 0 ] || usage_error "which subcommand of rosa? (train run.yaml)"

# is_host_name NAME: what ssh, mpirun and the file names below can take for nothing else.
is_host_name() {
  local LC_ALL=C
  case "$1" in
    [!A-Za-z0-9]* | *[!A-Za-z0-9._-]*) return 1 ;;
  esac
}

names=()
slots=()  # of each name; empty: -n decides
# read_hosts WHERE: from standard input. WHERE is the file's name, or empty for a list: then lines have no numbers.
read_hosts() {
  local line words name count other where="--hosts" number=0
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    if [ -n "$1" ]; then where="--hosts: $(printf %q "$1"):$number"; fi
    if [ "$number" = 1 ]; then line=${line#$'\xef\xbb\xbf'}; fi  # an editor's mark of UTF-8
    line=${line%$'\r'}
    read -ra words <<<"${line%%#*}"
    [ ${#words[@]} -gt 0 ] || continue
    name=${words[0]}
    is_host_name "$name" ||
      usage_error "$where: $(printf %q "$name") is no host name: letters, digits, dots, dashes and underscores, with a letter or digit first"
    count=
    case "${words[1]:-}" in
      "") ;;
      slots=*) count=${words[1]#slots=}; need_whole_number "$where: slots= of $name" "$count" ;;
      *) usage_error "$where: in $(printf %q "$line") only slots=N may follow the name" ;;
    esac
    [ ${#words[@]} -le 2 ] || usage_error "$where: in $(printf %q "$line") only slots=N may follow the name"
    for other in "${names[@]}"; do
      [ "$other" != "$name" ] || usage_error "$where: $name is named twice"
    done
    names+=("$name")
    slots+=("$count")
  done
}
if [ -r "$hosts_option" ] && [ ! -d "$hosts_option" ]; then
  read_hosts "$hosts_option" <"$hosts_option"
else
  case "$hosts_option" in
    */*) if [ ! -e "$hosts_option" ]; then usage_error "--hosts: there is no file $(printf %q "$hosts_option")"; fi ;;
  esac
  if [ -e "$hosts_option" ]; then usage_error "--hosts: $(printf %q "$hosts_option") is no file that can be read"; fi
  read_hosts "" <<<"${hosts_option//,/$'\n'}"
fi
[ ${#names[@]} -gt 0 ] || usage_error "--hosts: no host in $hosts_option"

# While mpirun starts its daemon on a host only ssh can see that the host is cut off; by default it would wait for ever.
: "${agent:=ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=4}"

find_program
find_mpirun
[ "$mpi_kind" != other ] || usage_error "this script knows Open MPI's mpirun only, and $mpirun is another"

# on_host NAME COMMAND: there, through a shell.
on_host() {
  if [ "$1" = "$(hostname)" ] || [ "$1" = localhost ]; then
    sh -c "$2"
  else
    # shellcheck disable=SC2086  # a command with its options
    $agent "$1" "$2"
  fi
}

# mpirun waits forever and silently for a host that does not answer. The answer: cores and GPUs.
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
# shellcheck disable=SC2016  # for the shell there
question="cd $(quote "$PWD") && test -x $(quote "$rosa_program") && "'echo $(env -u OMP_NUM_THREADS nproc) $(nvidia-smi -L 2>/dev/null | grep -c ^GPU)'
export -f on_host
export agent
for name in "${names[@]}"; do
  timeout -k 5 20 bash -c 'on_host "$@"' _ "$name" "$question" </dev/null >"$answers/$name" 2>"$answers/$name.err" &
done
wait

oversubscribed=no
host_list=
num_ranks=0
for i in "${!names[@]}"; do
  name=${names[$i]}
  read -r cores gpus <"$answers/$name" || true
  case "${cores:-}" in
    "" | *[!0-9]*)
      launch_error 5 "host $name does not answer, or lacks $PWD or $rosa_program: $(tr '\n' ' ' <"$answers/$name.err")" ;;
  esac
  count=${slots[$i]:-${ranks:-$((gpus > 0 ? gpus : 1))}}
  if [ "$count" -gt "$cores" ]; then oversubscribed=yes; fi
  host_list+=${host_list:+,}$name:$count
  num_ranks=$((num_ranks + count))
  cores=
done

mpi_run=("$mpirun" --host "$host_list" -np "$num_ranks" --map-by slot --wdir "$PWD")
add_common_options "$oversubscribed"
add_parameter plm_rsh_agent "$agent"
if [ -n "$network" ]; then
  add_parameter oob_tcp_if_include "$network"
  add_parameter btl_tcp_if_include "$network"
fi
# A host that is cut off: the first question after 10 s of silence, 4 more 5 s apart, then mpirun ends the job. Without
# these it would hang for five minutes; shorter ones would not outlive a switch that restarts.
add_parameter oob_tcp_keepalive_time 10
add_parameter oob_tcp_keepalive_intvl 5
add_parameter oob_tcp_keepalive_probes 4
# What decides over numbers, devices and networks is the same on every host.
while IFS= read -r variable; do
  mpi_run+=(-x "$variable")
done < <(compgen -e | grep -E '^(PATH|LD_LIBRARY_PATH|MKL_CBWR|OMP_NUM_THREADS|OMP_WAIT_POLICY|GOMP_SPINCOUNT|ATEN_CPU_CAPABILITY|ROSA_.*|NCCL_.*|UCX_.*)$')

if [ "$print" = yes ]; then
  print_command "${mpi_run[@]}" "$rosa_program" "$@"
  exit 0
fi
run_ranks "${mpi_run[@]}" "$rosa_program" "$@"
