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
  local script option
  # Every script, also through a link: help and refusals come before any work.
  for script in "$launch"/*.sh "$launch/rosa.sbatch"; do
    ln -sf "$script" "$scratch/a link"
    for option in --help -h; do
      timeout 60 bash "$scratch/a link" $option >"$scratch/out" 2>&1 </dev/null || failed "$script $option: exit code $?"
      cmp -s <(sed -n '2s/^# //p' "$script") <(head -n 1 "$scratch/out") || failed "$script $option: $(cat "$scratch/out")"
      ! grep -q '^#\|set -' "$scratch/out" || failed "$script $option shows more than its opening comment"
    done
    expect_refusal 2 "unknown option --nonsense" timeout 60 bash "$scratch/a link" --nonsense
  done
  expect_refusal 2 "unexpected argument 'phrases'" timeout 60 "$launch/demo.sh" phrases
  expect_refusal 2 "unexpected argument 'b'" timeout 60 "$launch/demo.sh" --parts a b
  expect_refusal 2 "takes a value" timeout 60 "$launch/demo.sh" --folder
  expect_refusal 2 "unexpected argument 'all'" timeout 60 "$launch/setup.sh" all
  expect_refusal 2 "unexpected argument 'now'" timeout 60 "$launch/test.sh" quick now
  expect_refusal 2 "unexpected argument 'two'" timeout 60 "$launch/bench.sh" one two
  expect_refusal 2 "which subcommand" "$launch/run_local.sh"
  expect_refusal 2 "whole number.*got 'two'" "$launch/run_local.sh" -n two doctor
  expect_refusal 2 "whole number.*got ''" "$launch/run_local.sh" -n
  expect_refusal 2 "which hosts" "$launch/run_hosts.sh" doctor
  expect_refusal 2 "no file /no/such" "$launch/run_hosts.sh" --hosts /no/such doctor
  expect_refusal 2 "node1 is named twice" "$launch/run_hosts.sh" --hosts node1,node1 doctor
  printf '# hosts\n\nnode1 slots=4\nnode2 cores=4\n' >"$scratch/hostfile"
  expect_refusal 2 "hostfile:4: in node2. cores=4 only slots=N" "$launch/run_hosts.sh" --hosts "$scratch/hostfile" doctor
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

# demo.sh refuses before it builds what `rosa demo` does not know, and nothing that it knows.
case_demo_options() {
  local option
  for option in $("$rosa" demo --help | grep -oE -- '--[a-z]+' | sort -u | grep -v help); do
    # With such a LibTorch it ends before it builds.
    expect_refusal_of_libtorch "$option" x
    expect_refusal_of_libtorch "$option=x"
  done
}
expect_refusal_of_libtorch() {
  ROSA_LIBTORCH=$scratch timeout 300 "$launch/demo.sh" "$@" >"$scratch/out" 2>&1 </dev/null
  expect_code "demo.sh $*" 1 $? "$scratch/out"
  expect_text "demo.sh $*" "holds no include/ATen" "$scratch/out"
}

case_host_names() {
  local hosts=("$launch/run_hosts.sh" --print --agent "$scratch/owns" --hosts) name
  printf '#!/bin/bash\ntouch "%s/owned"\necho 4 0\n' "$scratch" >"$scratch/owns"
  chmod +x "$scratch/owns"
  for name in -oProxyCommand=x --help a/b ../x 'a;b' 'a$(x)' 'a:4' 'user@a' $'a\e[31m' $'\xc3\xa4' .a _a '*'; do
    printf 'node1 slots=2\n\n%s\n' "$name" >"$scratch/hostfile"
    expect_refusal 2 "hostfile:3: .* is no host name" "${hosts[@]}" "$scratch/hostfile" doctor
    expect_refusal 2 "is no host name" "${hosts[@]}" <(echo "$name") doctor
    case "$name" in
      */*) ;;  # a file that is missing
      *) expect_refusal 2 "is no host name" "${hosts[@]}" "node1,$name" doctor ;;
    esac
  done
  [ ! -e "$scratch/owned" ] || failed "a refused host was asked"
  expect_refusal 2 "whole number" "${hosts[@]}" node1 -n 99999999999999999999 doctor
  expect_refusal 2 "is no file that can be read" "${hosts[@]}" "$scratch" doctor
  # As editors elsewhere leave it: line ends of two characters, a mark at the beginning, none at the end.
  printf '\xef\xbb\xbfnode1 slots=2\r\n\r\n# more\r\nnode_2.a-b\r\nnode3 slots=1' >"$scratch/host file"
  expect_words "${hosts[@]}" "$scratch/host file" -n 3 doctor -- --host node1:2,node_2.a-b:3,node3:1 -np 6
}

# expect_end_of_words WHAT: the stand-in got some options and then the lines of `expected`.
expect_end_of_words() {
  cmp <(tail -n "$(wc -l <"$scratch/expected")" "$STAND_IN.words") "$scratch/expected" || failed "$1: other words"
  rm -f "$STAND_IN.words"
}

# Words and folders with blanks, quotes, control characters and bytes that are no ASCII reach mpirun, and what is shown
# is read by any shell.
case_odd_words() {
  local folder words locale
  words=('a  b' "it's" '"q"' '$HOME' '\' '*' '' $'tab\tline\nend' $'\x01\xc3\xbc\xff' '~' '#' 'a,b')
  folder=$scratch/$'it\'s "a"\t\x01\xc3\xbc $x'
  mkdir "$folder"
  ln -s "$launch/run_local.sh" "$folder/run local"
  # A host of its own but for the name: a POSIX shell in another folder.
  printf '#!/bin/sh\nshift\ncd / && exec sh -c "$*"\n' >"$scratch/bin/shell_there"
  chmod +x "$scratch/bin/shell_there"
  for locale in C C.UTF-8; do
    (
      cd "$folder" || exit
      export LC_ALL=$locale
      export STAND_IN_CODE=0
      printf '%s\n' "$rosa" "${words[@]}" >"$scratch/expected"
      "./run local" -n 1 "${words[@]}"
      expect_end_of_words "$locale: run_local.sh"
      "./run local" --print -n 1 "${words[@]}" >"$scratch/script"
      sh "$scratch/script"
      expect_end_of_words "$locale: run_local.sh --print"
      "$launch/run_hosts.sh" --print --agent shell_there --hosts node1 -n 1 "${words[@]}" >"$scratch/script" 2>&1
      expect_code "$locale: run_hosts.sh" 0 $? "$scratch/script"
      sh "$scratch/script"
      grep -qaxF -- "$folder" "$STAND_IN.words" || failed "$locale: folder of run_hosts.sh"
      expect_end_of_words "$locale: run_hosts.sh --print"
      exit "$num_failed"
    ) || failed "in the subshell"
  done
}

# With closed outputs mpirun would take their numbers for pipes of its own.
case_closed_outputs() {
  cat >"$scratch/bin/shows" <<'SCRIPT'
#!/bin/bash
if [ "$1" = --version ]; then echo "mpirun (Open MPI) 4.1.4"; exit; fi
for number in 0 1 2; do echo "$number $(readlink "/proc/$$/fd/$number")" >>"$STAND_IN.outputs"; done
SCRIPT
  chmod +x "$scratch/bin/shows"
  mkdir -p "$scratch/shows"
  ln -sf "$scratch/bin/shows" "$scratch/shows/mpirun"
  local path=$scratch/shows:$PATH
  rm -f "$STAND_IN.outputs"
  PATH=$path "$launch/run_local.sh" -n 1 doctor <&- >&- 2>&-
  expect_code "closed outputs" 0 $?
  expect_outputs /dev/null /dev/null
  PATH=$path "$launch/run_local.sh" -n 1 doctor >"$scratch/out" 2>&-
  expect_outputs "$scratch/out" /dev/null
  PATH=$path "$launch/run_local.sh" -n 1 doctor 2>"$scratch/out" >&-
  expect_outputs /dev/null "$scratch/out"
}
expect_outputs() {  # expect_outputs STANDARD_OUTPUT STANDARD_ERROR
  printf '%s\n' "0 /dev/null" "1 $1" "2 $2" | cmp - "$STAND_IN.outputs" || failed "outputs: $(cat "$STAND_IN.outputs")"
  rm -f "$STAND_IN.outputs"
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
  expect_words "${local[@]}" -n 1 train 'a b.yaml' -- "$rosa" train "'a b.yaml'"
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
    "'ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=4'"
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

if [ $# = 0 ]; then set -- help_and_wrong_usage demo_options host_names options odd_words closed_outputs signals exit_codes real_ranks; fi
run_cases "$@"
