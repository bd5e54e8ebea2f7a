#!/usr/bin/env bash
# Training under Slurm: slurmctld, two slurmd and munge of this machine, srun and launch/rosa.sbatch. A run that is
# stopped by a signal or by its time limit is put back into the queue and ends with the bytes of one that was not.
#   tests/launch/slurm_test.sh [CASE...]
source "$(dirname "${BASH_SOURCE[0]}")/../support/slurm.sh"
if [ "${ROSA_TEST_NAMESPACE:-}" != inside ]; then
  reason=$(why_no_slurm)
  [ -z "$reason" ] || { echo "skipped: $reason"; exit 77; }
  enter_namespace "${BASH_SOURCE[0]}" "$@"
fi
source "$(dirname "${BASH_SOURCE[0]}")/../support/shell_test.sh"

slurm_up || exit 1
export ROSA_HOME=$source_root
num_steps=100

train_alone() {  # train_alone NAME NUM_STEPS
  write_run "$1" "$2"
  "$rosa" train "$scratch/$1.yaml" >"$scratch/$1.log" 2>&1
  expect_code "one rank alone" 0 $? "$scratch/$1.log"
}

# submit NAME OPTION...: the run NAME as a job; sets `job`.
submit() {
  local name=$1
  shift
  job=$(sbatch --parsable --nodes=2 --ntasks-per-node=2 --cpus-per-task=1 --output="$scratch/$name.log" "$@" \
    "$launch/rosa.sbatch" train "$scratch/$name.yaml") || failed "sbatch"
}

expect_state() {  # expect_state STATE NAME
  local state
  state=$(job_state "$job")
  [ "$state" = "$1" ] && return 0
  failed "$2: expected $1, got $state"
  tail -n 40 "$scratch/$2.log"
  tail -n 20 "$scratch"/slurmctld.log "$scratch"/slurmd.*.log
}

case_srun() {
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  write_run srun "$num_steps"
  timeout -k 5 300 srun --mpi=pmix --nodes=2 --ntasks=4 "$rosa" train "$scratch/srun.yaml" >"$scratch/srun.log" 2>&1
  expect_code srun 0 $? "$scratch/srun.log"
  same_run srun alone
  expect_no_job_processes 30
}

case_sbatch() {
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  write_run batch "$num_steps"
  submit batch
  wait_until 300 job_over "$job" || failed "the job does not end"
  expect_state COMPLETED batch
  same_run batch alone
  expect_no_job_processes 30
}

# A signal in mid-run: checkpoint, back into the queue, and on to the same bytes. LAUNCHER is mpirun or srun.
requeue_on_signal() {  # requeue_on_signal NAME LAUNCHER SCANCEL_OPTION...
  local name=$1
  export ROSA_LAUNCHER=$2
  shift 2
  [ -d "$scratch/alone" ] || train_alone alone "$num_steps"
  write_run "$name" "$num_steps"
  submit "$name"
  wait_until 120 has_checkpoint "$name" || failed "no checkpoint"
  scancel "$@" "$job" || failed "scancel"
  wait_until 300 job_over "$job" || failed "the job does not end"
  expect_state COMPLETED "$name"
  [ "$(num_restarts "$job")" = 1 ] || failed "$name: expected 1 restart, got $(num_restarts "$job")"
  expect_text "$name" "back into the queue" "$scratch/$name.log"
  expect_text "$name" "resumed from" "$scratch/$name.log"
  same_run "$name" alone
  expect_no_job_processes 30
  unset ROSA_LAUNCHER
}
case_signal_to_batch() { requeue_on_signal to_batch mpirun --batch --signal=USR1; }
case_signal_to_batch_srun() { requeue_on_signal to_batch_srun srun --batch --signal=USR1; }
case_signal_to_ranks() { requeue_on_signal to_ranks srun --signal=USR1; }
case_preemption() { requeue_on_signal preempted mpirun --batch --signal=TERM; }

# The time limit itself: a minute, and the signal half a minute before it. The run takes two minutes on this machine, so
# that it needs more than one start.
case_time_limit() {
  local start steps
  start=$(date +%s%N)
  train_alone probe "$num_steps"
  steps=$((num_steps * 120 * 1000000000 / ($(date +%s%N) - start)))
  echo "$steps steps"
  write_run limited "$steps"
  submit limited --time=1 --signal=B:USR1@30
  train_alone unlimited "$steps"
  wait_until 1800 job_over "$job" || failed "the job does not end"
  expect_state COMPLETED limited
  [ "$(num_restarts "$job")" -ge 1 ] || failed "the run ended within its first minute"
  echo "restarts: $(num_restarts "$job")"
  same_run limited unlimited
  expect_no_job_processes 30
}

case_cancelled() {
  write_run cancelled 100000
  submit cancelled
  wait_until 120 has_checkpoint cancelled || failed "no checkpoint"
  scancel "$job"
  wait_until 120 job_over "$job" || failed "the job does not end"
  expect_state CANCELLED cancelled
  expect_no_job_processes 100
}

# A run that fails is not put back: it would fail again.
case_failure() {
  write_run failing "$num_steps"
  echo "nonsense: 1" >>"$scratch/failing.yaml"
  submit failing
  wait_until 120 job_over "$job" || failed "the job does not end"
  expect_state FAILED failing
  scontrol show job "$job" | grep -q 'ExitCode=2:0' || failed "expected exit code 2: $(scontrol show job "$job")"
  expect_no_job_processes 30
}

if [ $# = 0 ]; then
  set -- srun sbatch signal_to_batch signal_to_batch_srun signal_to_ranks preemption time_limit cancelled failure
fi
run_cases "$@"
