#!/usr/bin/env bash
# Training over several hosts: network namespaces stand for them, mpirun speaks TCP between them, launch/run_hosts.sh
# starts it. Also what happens when the network or a host fails in mid-step.
#   tests/launch/hosts_test.sh              the short cases (about a minute)
#   tests/launch/hosts_test.sh CASE...      or all: every case
# The run folder is on a file system that all hosts share, as on a cluster.
source "$(dirname "${BASH_SOURCE[0]}")/../support/shell_test.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../support/hosts.sh"

short_cases=(same_bytes dry_run stop_and_go_on cut_link lost_host wrong_hosts)
long_cases=(odd_places flapping_link cut_at_launch cut_links lost_first_host)

reason=$(why_no_hosts)
[ -z "$reason" ] || skip "$reason"
clean_up() { hosts_down; }
hosts_up 2

# Shorter than run_hosts.sh has them: a test waits for them.
export OMPI_MCA_oob_tcp_keepalive_time=2 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=2

# shellcheck disable=SC2054  # the comma is of --hosts
as_user_on_node1=("$scratch/enter" 1 "$launch/run_hosts.sh" --hosts node1,node2 --agent "$scratch/agent"
  --network 10.99.0.0/24)
run_on_hosts() { "${as_user_on_node1[@]}" "$@"; }
start_on_hosts() {  # start_on_hosts NAME: in the background; sets `job`, the process of run_hosts.sh, and `log`
  log=$scratch/$1.log
  (exec "${as_user_on_node1[@]}" -n 2 train "$scratch/$1.yaml" >>"$log" 2>&1) &
  job=$!
}

# The same run on one rank, which no host or network has to do with.
train_alone() {  # train_alone NAME NUM_STEPS
  write_run "$1" "$2"
  "$rosa" train "$scratch/$1.yaml" >"$scratch/$1.log" 2>&1
  expect_code "one rank alone" 0 $? "$scratch/$1.log"
}

resume_and_compare() {  # resume_and_compare NAME REFERENCE
  start_on_hosts "$1"
  wait_for "$job" 300
  expect_code "resumed run" 0 "$code" "$log" || return 1
  expect_text "resumed run" "resumed from" "$log"
  same_run "$1" "$2"
  expect_no_orphans 30
}

num_steps=100

case_same_bytes() {
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  run_on_hosts -n 2 doctor >"$scratch/doctor.log" 2>&1
  expect_text "doctor" "rank 0 +node1 " "$scratch/doctor.log"
  expect_text "doctor" "rank 3 +node2 " "$scratch/doctor.log"
  expect_text "doctor" "host node2 +eth0 10.99.0.2; its own name resolves to 10.99.0.2" "$scratch/doctor.log"
  write_run two_hosts "$num_steps"
  start_on_hosts two_hosts
  wait_for "$job" 300
  expect_code "two hosts" 0 "$code" "$log" || return 1
  same_run two_hosts alone
  expect_no_orphans 30
}

# What only several hosts can have wrong: a run folder that they do not share, files that differ.
case_dry_run() {
  local log=$scratch/dry.log
  write_run dry 50
  run_on_hosts train "$scratch/dry.yaml" --dry-run >"$log" 2>&1
  expect_code "dry run" 0 $? "$log"
  expect_text "dry run" "host node1 +1 rank" "$log"
  expect_text "dry run" "host node2 +1 rank, .* cores, 1 used by compute.threads; clock" "$log"
  [ ! -e "$scratch/dry" ] || failed "a dry run left $scratch/dry"

  # node2 has a disk of its own where the run folder is.
  mkdir "$scratch/unshared"
  write_run unshared/run 50
  cat >"$scratch/alone_on_2" <<SCRIPT
#!/bin/bash
if [ "\$1" = node2 ]; then shift; exec "$scratch/enter" 2 sh -c "mount -t tmpfs none $scratch/unshared && \$*"; fi
exec "$scratch/agent" "\$@"
SCRIPT
  chmod +x "$scratch/alone_on_2"
  cp "$scratch/unshared/run.yaml" "$scratch/unshared.yaml"
  "$scratch/enter" 1 "$launch/run_hosts.sh" --hosts node1,node2 --agent "$scratch/alone_on_2" \
    --network 10.99.0.0/24 train "$scratch/unshared.yaml" --dry-run >"$log" 2>&1
  expect_code "run folder that is not shared" 4 $? "$log"
  expect_text "run folder that is not shared" "the test checkpoint can.t be written: .*file system that all ranks share" "$log"

  # Room for one checkpoint, but not for those that are kept.
  mkdir "$scratch/small"
  write_run small/run 50
  cp "$scratch/small/run.yaml" "$scratch/small.yaml"
  "$scratch/enter" 1 sh -c "mount -t tmpfs -o size=500k none $scratch/small &&
    $rosa train $scratch/small.yaml --dry-run" >"$log" 2>&1
  expect_code "small disk" 7 $? "$log"
  expect_text "small disk" "the disk is too small: about .* for 3 checkpoints" "$log"
  expect_no_orphans 30
}

case_stop_and_go_on() {
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  write_run stopped "$num_steps"
  start_on_hosts stopped
  wait_until 120 has_checkpoint stopped || failed "no checkpoint"
  kill -TERM "$job"  # to the script, as a scheduler or an operator would
  wait_for "$job" 120
  expect_code "stopped run" 75 "$code" "$log"
  expect_no_orphans 30
  resume_and_compare stopped alone
}

# expect_failure NAME: the job that was started ends by itself, not as if nothing were wrong, and leaves no process.
expect_failure() {
  wait_for "$job" 100
  case "$code" in
    0 | 75 | 124) expect_code "$1" "a failure" "$code" "$log" ;;
  esac
  expect_no_orphans 100
}

case_cut_link() {
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  write_run cut "$num_steps"
  start_on_hosts cut
  wait_until 120 has_checkpoint cut || failed "no checkpoint"
  link_down 2
  expect_failure "job whose link is cut"
  link_up 2
  resume_and_compare cut alone
}

case_lost_host() {
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  write_run lost "$num_steps"
  start_on_hosts lost
  wait_until 120 has_checkpoint lost || failed "no checkpoint"
  kill_host 2
  expect_failure "job that lost a host"
  resume_and_compare lost alone
}

# What is wrong with the hosts is said in one line, before mpirun would hang.
case_wrong_hosts() {
  local log=$scratch/wrong.log
  # The test's agent enters node2 all the same, as no ssh would; then mpirun says what is wrong.
  link_down 2
  run_on_hosts doctor >"$log" 2>&1 && failed "node2 without network: no error"
  expect_text "node2 without network" "unable to (complete a TCP connection|reliably start)" "$log"
  link_up 2
  # As Debian's installer leaves a host: its own name is the loopback device.
  cp "$scratch/hosts" "$scratch/hosts.good"
  sed -i 's/10.99.0.2 node2/127.0.1.1 node2/' "$scratch/hosts"
  run_on_hosts doctor >"$log" 2>&1
  expect_text "node2 with a loopback name" "WARNING: it calls itself by a loopback address" "$log"
  cp "$scratch/hosts.good" "$scratch/hosts"
  "$scratch/enter" 1 "$launch/run_hosts.sh" --hosts node1,node7 --agent "$scratch/agent" doctor >"$log" 2>&1
  expect_code "a host that does not exist" 5 $? "$log"
  expect_text "a host that does not exist" "host node7 does not answer" "$log"
  expect_no_orphans 30
}

# The script through a link, a host file with line ends of two characters, and blanks, quotes, control characters and
# bytes that are no ASCII in folder and arguments, in a locale that knows none of them.
case_odd_places() {
  local folder=$scratch/$'it\'s "a"\t\x01\xc3\xbc' log=$scratch/odd.log
  mkdir "$folder"
  ln -s "$launch/run_hosts.sh" "$folder/run hosts"
  printf '\xef\xbb\xbfnode1 slots=1\r\n\r\n# more\r\nnode2 slots=1' >"$folder/host file"
  write_run odd 4
  mv "$scratch/odd.yaml" "$folder/a 'run'.yaml"
  (cd "$folder" && LC_ALL=C exec "$scratch/enter" 1 "./run hosts" --hosts "host file" --agent "$scratch/agent" \
    --network 10.99.0.0/24 -n 2 train "a 'run'.yaml" --set "run.folder=it's \"out\"") >"$log" 2>&1
  expect_code "odd places" 0 $? "$log"
  [ -d "$folder/it's \"out\"/checkpoints/step_00000004" ] || failed "odd places: no checkpoint: $(cat "$log")"
  expect_no_orphans 30
}

# A link that comes back within seconds costs nothing but time.
case_flapping_link() {
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  write_run flapping "$num_steps"
  (
    unset OMPI_MCA_oob_tcp_keepalive_time OMPI_MCA_oob_tcp_keepalive_intvl OMPI_MCA_oob_tcp_keepalive_probes
    start_on_hosts flapping
    wait_until 120 has_checkpoint flapping || failed "no checkpoint"
    link_down 2
    sleep 5
    link_up 2
    wait_for "$job" 300
    expect_code "run whose link came back" 0 "$code" "$log"
    exit "$num_failed"
  ) || failed "in the subshell"
  same_run flapping alone
  expect_no_orphans 30
}

# The host is lost between the question whether it answers and the first word of its daemon.
case_cut_at_launch() {
  local log=$scratch/at_launch.log
  cat >"$scratch/waiting_agent" <<SCRIPT
#!/bin/bash
case "\$*" in *orted*) touch "$scratch/launches"; until [ -e "$scratch/is_cut" ]; do sleep 0.05; done ;; esac
exec "$scratch/agent" "\$@"
SCRIPT
  chmod +x "$scratch/waiting_agent"
  "$scratch/enter" 1 "$launch/run_hosts.sh" --hosts node1,node2 --agent "$scratch/waiting_agent" \
    --network 10.99.0.0/24 doctor >"$log" 2>&1 &
  job=$!
  wait_until 60 test -e "$scratch/launches" || failed "no daemon"
  into_the_void 2
  touch "$scratch/is_cut"
  expect_failure "job whose host is cut off at launch"
  expect_text "job whose host is cut off at launch" "unable to (complete a TCP connection|reliably start)" "$log"
  back_from_the_void 2
}

# At ten random moments.
case_cut_links() {
  local i after node cut
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  RANDOM=${ROSA_TEST_SEED:-20261122}
  echo "ROSA_TEST_SEED=${ROSA_TEST_SEED:-20261122}"
  write_run cuts "$num_steps"
  for i in $(seq 10); do
    start_on_hosts cuts
    after=$((RANDOM % 5)).$((RANDOM % 10))
    node=$((RANDOM % 2 + 1))
    sleep "$after"
    link_down "$node"
    cut=$SECONDS
    wait_for "$job" 100
    echo "cut $i of node$node after $after s: exit code $code after $((SECONDS - cut)) s, at $(basename "$(last_checkpoint cuts)")"
    [ "$code" != 124 ] || failed "cut $i: no end within 100 s"
    expect_no_orphans 100
    link_up 1
    link_up 2
  done
  start_on_hosts cuts
  wait_for "$job" 300
  expect_code "run after the cuts" 0 "$code" "$log"
  same_run cuts alone
}

# mpirun dies with its host: the ranks elsewhere must not stay.
case_lost_first_host() {
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  write_run lost_first "$num_steps"
  start_on_hosts lost_first
  wait_until 120 has_checkpoint lost_first || failed "no checkpoint"
  kill_host 1
  wait "$job" 2>/dev/null
  expect_no_orphans 100
  resume_and_compare lost_first alone
}

if [ "${1:-}" = all ]; then set -- "${short_cases[@]}" "${long_cases[@]}"; fi
if [ $# = 0 ]; then set -- "${short_cases[@]}"; fi
run_cases "$@"
