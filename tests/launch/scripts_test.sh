#!/usr/bin/env bash
# The launch scripts by themselves: wrong usage, the options they give mpirun, and signals. A stand-in for mpirun notes
# what it gets; hosts_test.sh and slurm_test.sh run the real one.
source "$(dirname "${BASH_SOURCE[0]}")/../support/shell_test.sh"

mkdir "$scratch/bin"
cat >"$scratch/bin/mpirun" <<'SCRIPT'
#!/bin/bash
if [ "$1" = --version ]; then echo "mpirun (Open MPI) ${STAND_IN_VERSION:-4.1.4}"; exit; fi
printf '%s\n' "$@" >"$STAND_IN.words"
trap 'echo USR1 >>"$STAND_IN.signals"; [ -n "${STAND_IN_STAYS:-}" ] || exit 75' USR1
trap 'echo TERM >>"$STAND_IN.signals"; exit 1' TERM
if [ -n "${STAND_IN_CODE:-}" ]; then exit "$STAND_IN_CODE"; fi
echo $$ >"$STAND_IN.pid"
for _ in $(seq 600); do sleep 0.1; done
SCRIPT
chmod +x "$scratch/bin/mpirun"
export STAND_IN=$scratch/stand_in
export PATH=$scratch/bin:$PATH
unset OMPI_MCA_mpi_yield_when_idle

# expect_refusal CODE PATTERN COMMAND...: ends with CODE and says one line, which matches.
expect_refusal() {
  local expected=$1 pattern=$2 status=0
  shift 2
  "$@" >"$scratch/out" 2>&1 </dev/null || status=$?
  expect_code "$*" "$expected" "$status" "$scratch/out"
  expect_text "$*" "$pattern" "$scratch/out"
  [ "$(wc -l <"$scratch/out")" = 1 ] || failed "$*: more than one line: $(cat "$scratch/out")"
}

case_help_and_wrong_usage() {
  local script
  for script in run_local.sh run_hosts.sh rosa.sbatch test.sh long_tests.sh; do
    "$launch/$script" --help >"$scratch/out" 2>&1 || failed "$script --help: exit code $?"
    expect_text "$script --help" "launch/$script" "$scratch/out"
    [ "$script" = rosa.sbatch ] || expect_refusal 2 "unknown option --nonsense" "$launch/$script" --nonsense
  done
  expect_refusal 2 "which subcommand" "$launch/run_local.sh"
  expect_refusal 2 "whole number.*got 'two'" "$launch/run_local.sh" -n two doctor
  expect_refusal 2 "whole number.*got ''" "$launch/run_local.sh" -n
  expect_refusal 2 "which hosts" "$launch/run_hosts.sh" doctor
  expect_refusal 2 "no file /no/such" "$launch/run_hosts.sh" --hosts /no/such doctor
  expect_refusal 2 "node1 is named twice" "$launch/run_hosts.sh" --hosts node1,node1 doctor
  printf '# hosts\n\nnode1 slots=4\nnode2 cores=4\n' >"$scratch/hostfile"
  expect_refusal 2 "'node2 cores=4' only slots=N" "$launch/run_hosts.sh" --hosts "$scratch/hostfile" doctor
  expect_refusal 2 "no host in" "$launch/run_hosts.sh" --hosts /dev/null doctor
  expect_refusal 5 "host no.such.host does not answer" \
    "$launch/run_hosts.sh" --hosts no.such.host --agent false doctor
  expect_refusal 2 "which subcommand" "$launch/rosa.sbatch"
  expect_refusal 2 "no Slurm job" env -u SLURM_JOB_ID ROSA_HOME="$source_root" "$launch/rosa.sbatch" doctor
  expect_refusal 2 "set ROSA_HOME" env ROSA_HOME=/no/such "$launch/rosa.sbatch" doctor
  expect_refusal 2 "mpirun or srun, got 'flux'" \
    env SLURM_JOB_ID=1 ROSA_HOME="$source_root" ROSA_LAUNCHER=flux "$launch/rosa.sbatch" doctor
  expect_refusal 2 "is not a program" env ROSA_PROGRAM=/no/such "$launch/run_local.sh" doctor
}

# expect_words SCRIPT_AND_ARGUMENTS -- WORD...: its command has them, in this order, one after the other.
expect_words() {
  local command=() words
  while [ "$1" != -- ]; do command+=("$1"); shift; done
  shift
  words=$("${command[@]}" 2>&1)
  case " $words " in
    *" $* "*) ;;
    *) failed "${command[*]}: no '$*' in: $words" ;;
  esac
}
expect_no_word() {  # expect_no_word WORD COMMAND...
  local word=$1 words
  shift
  words=$("$@" 2>&1)
  case " $words " in *" $word "*) failed "$*: '$word' in: $words" ;; esac
}

case_options() {
  local local=("$launch/run_local.sh" --print) cores many
  cores=$(env -u OMP_NUM_THREADS nproc)
  many=$((cores + 1))
  expect_no_word mpi_yield_when_idle env OMP_NUM_THREADS=1 "${local[@]}" -n "$cores" doctor
  expect_words "${local[@]}" -n 1 train 'a b.yaml' -- "$rosa" train 'a\ b.yaml'
  expect_words "${local[@]}" -n 1 doctor -- -np 1 --bind-to none
  expect_words "${local[@]}" -n 1 doctor -- --mca odls_base_sigkill_timeout 2
  expect_no_word mpi_yield_when_idle "${local[@]}" -n 1 doctor
  expect_words "${local[@]}" -n "$many" doctor -- --mca mpi_yield_when_idle 1
  # Open MPI refuses a parameter that is given twice.
  expect_no_word odls_base_sigkill_timeout env OMPI_MCA_odls_base_sigkill_timeout=9 "${local[@]}" -n 1 doctor
  if [ "$(id -u)" = 0 ]; then
    expect_words "${local[@]}" -n 1 doctor -- --allow-run-as-root
  else
    expect_no_word --allow-run-as-root "${local[@]}" -n 1 doctor
  fi
  export STAND_IN_VERSION=5.0.3
  expect_words "${local[@]}" -n 1 doctor -- --prtemca odls_base_sigkill_timeout 2
  expect_words "${local[@]}" -n 1 doctor -- --map-by :OVERSUBSCRIBE
  unset STAND_IN_VERSION

  # A stand-in for ssh: node1 has 1000 cores and 2 GPUs, node2 one core and none.
  # shellcheck disable=SC2016
  printf '#!/bin/bash\ncase $1 in node1) echo 1000 2 ;; *) echo 1 0 ;; esac\n' >"$scratch/bin/ask"
  chmod +x "$scratch/bin/ask"
  local hosts=("$launch/run_hosts.sh" --print --agent "$scratch/bin/ask" --hosts)
  expect_words "${hosts[@]}" node1,node2 doctor -- --host node1:2,node2:1 -np 3
  expect_words "${hosts[@]}" node1,node2 -n 4 doctor -- --host node1:4,node2:4 -np 8
  expect_words "${hosts[@]}" node1,node2 -n 4 doctor -- --mca mpi_yield_when_idle 1
  expect_no_word mpi_yield_when_idle "${hosts[@]}" node1 -n 4 doctor
  printf '# hosts\n\nnode1 slots=4\nnode2  # one\n' >"$scratch/hostfile"
  expect_words "${hosts[@]}" "$scratch/hostfile" -n 2 doctor -- --host node1:4,node2:2 -np 6
  expect_words "${hosts[@]}" node1 --network 10.1.0.0/16 doctor -- --mca btl_tcp_if_include 10.1.0.0/16
  expect_words "${hosts[@]}" node1 doctor -- --mca oob_tcp_keepalive_time 10
  expect_words env ROSA_X=1 "${hosts[@]}" node1 doctor -- -x ROSA_X
  expect_words "${hosts[@]}" node1 doctor -- --wdir "$PWD"
  # ssh gives a host up that is cut off while mpirun starts there.
  cp "$scratch/bin/ask" "$scratch/bin/ssh"
  sed -i 's/case \$1 in/case "${*: -2:1}" in/' "$scratch/bin/ssh"
  expect_words "$launch/run_hosts.sh" --print --hosts node1,node2 doctor -- --host node1:2,node2:1 -np 3
  expect_words "$launch/run_hosts.sh" --print --hosts node1,node2 doctor -- \
    'ssh\ -o\ BatchMode=yes\ -o\ ConnectTimeout=10\ -o\ ServerAliveInterval=10\ -o\ ServerAliveCountMax=4'
}

start_stand_in() {  # start_stand_in [VARIABLE=VALUE...]: sets `job`, the launch script's process
  rm -f "$STAND_IN".*
  env --default-signal=INT "$@" "$launch/run_local.sh" -n 1 doctor >"$scratch/out" 2>&1 &
  job=$!
  wait_until 60 test -s "$STAND_IN.pid" || failed "the stand-in did not start: $(cat "$scratch/out")"
}
got_signals() { [ "$(cat "$STAND_IN.signals" 2>/dev/null | tr '\n' ' ')" = "$1" ]; }

case_signals() {
  local signal
  for signal in TERM INT HUP USR1; do
    start_stand_in
    kill "-$signal" "$job"
    wait_for "$job" 60
    expect_code "$signal" 75 "$code" "$scratch/out"
    got_signals "USR1 " || failed "$signal became $(cat "$STAND_IN.signals")"
  done
  # Again and again is still a stop, but for a second INT.
  start_stand_in STAND_IN_STAYS=yes
  kill -TERM "$job"
  wait_until 60 got_signals "USR1 " || failed "TERM did not arrive"
  kill -USR1 "$job"
  wait_until 60 got_signals "USR1 USR1 " || failed "USR1 did not arrive"
  kill -INT "$job"
  wait_until 60 got_signals "USR1 USR1 USR1 " || failed "INT did not arrive"
  kill -INT "$job"
  wait_for "$job" 60
  expect_code "second INT" 1 "$code" "$scratch/out"
  got_signals "USR1 USR1 USR1 TERM " || failed "second INT became $(cat "$STAND_IN.signals")"
  # Without the script the job stops too.
  start_stand_in
  kill -KILL "$job"
  wait "$job" 2>/dev/null
  wait_until 60 gone "$(cat "$STAND_IN.pid")" || { failed "the job outlives its script"; kill "$(cat "$STAND_IN.pid")"; }
  got_signals "USR1 " || failed "death of the script became $(cat "$STAND_IN.signals")"
}

case_exit_codes() {
  local expected
  for expected in 0 3 75 137 205; do
    STAND_IN_CODE=$expected "$launch/run_local.sh" -n 1 doctor >"$scratch/out.$expected" 2>&1
    expect_code "exit code" "$expected" $? "$scratch/out.$expected"
  done
  expect_text "exit code 137" "ended by the signal KILL" "$scratch/out.137"
  [ ! -s "$scratch/out.205" ] || failed "exit code 205: $(cat "$scratch/out.205")"
}

# The real mpirun, and as another user where this one is root.
case_real_ranks() {
  local path=${PATH#*:} as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$scratch/nobody")
  (cd "$scratch" && PATH=$path "$launch/run_local.sh" -n 2 doctor) >"$scratch/out" 2>&1
  expect_code "two ranks" 0 $? "$scratch/out"
  expect_text "two ranks" "rank 1 " "$scratch/out"
  # rosa's message is the only line.
  (cd "$scratch" && PATH=$path "$launch/run_local.sh" -n 2 train /no/such.yaml) >"$scratch/out" 2>&1
  expect_code "two ranks that fail" 2 $? "$scratch/out"
  [ "$(wc -l <"$scratch/out")" = 1 ] || failed "two ranks that fail: $(cat "$scratch/out")"
  if [ "$(id -u)" != 0 ] || ! "${as_nobody[@]}" test -r "$launch/mpi_run.sh" 2>/dev/null; then
    echo "not checked: another user (this one is not root, or others may not read the checkout)"
    return 0
  fi
  mkdir -p "$scratch/nobody"
  chmod 755 "$scratch"
  chown 65534 "$scratch/nobody"
  # Not rosa itself: LibTorch is in root's cache.
  (cd "$scratch/nobody" && PATH=$path TMPDIR=$scratch/nobody ROSA_PROGRAM=$(command -v printenv) \
    "${as_nobody[@]}" "$launch/run_local.sh" -n 2 OMPI_COMM_WORLD_RANK) >"$scratch/out" 2>&1
  expect_code "two ranks, not as root" 0 $? "$scratch/out"
  [ "$(sort "$scratch/out" | tr '\n' ' ')" = "0 1 " ] || failed "two ranks, not as root: $(cat "$scratch/out")"
}

if [ $# = 0 ]; then set -- help_and_wrong_usage options signals exit_codes real_ranks; fi
run_cases "$@"
