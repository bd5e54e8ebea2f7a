#!/usr/bin/env bash
# rosa train --dry-run: reports, leaves nothing behind, and ends with the run's own exit code where the run would fail.
# What needs several hosts is in hosts_test.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../support/shell_test.sh"

dry_run() { "$launch/run_local.sh" -n "$1" train "${@:2}" --dry-run >"$scratch/out" 2>&1; }  # RANKS ARGUMENT...
files() { find "$scratch" -path "$scratch/out" -prune -o -type f -printf '%P %s %T@\n' | sort; }

case_reports() {
  local before pattern
  write_run fresh 50
  before=$(files)
  dry_run 2 "$scratch/fresh.yaml"
  expect_code "dry run" 0 $? "$scratch/out"
  for pattern in "configuration, program .*CPU capability" "host .* 2 ranks, .* clock" "all_reduce sum +4 B in .*16 MiB in" \
    "broadcast_async" "all_gather " "reduce_scatter " "all_to_all " "barrier" "equal on every rank" "optimiser .* tensors, .* elements, learning rate x 1, weight decay 0.1" "cpu on every rank" \
    "count in the loss" "50 steps take about" "verified by every rank .* deleted" "disk +about .* for 3 checkpoints" \
    "would start +at step 0" "against rosa plan +planned .* MiB, measured .* MiB" "MiB in all ranks"; do
    expect_text "report" "$pattern" "$scratch/out"
  done
  [ "$(files)" = "$before" ] || failed "files after a dry run: $(diff <(echo "$before") <(files))"
  [ ! -e "$scratch/fresh" ] || failed "a dry run made the run folder"
}

# Where there are checkpoints already, and also for `pretrain`.
case_keeps_what_is_there() {
  local before
  write_run trained 10
  "$rosa" train "$scratch/trained.yaml" >"$scratch/out" 2>&1
  expect_code "train" 0 $? "$scratch/out"
  before=$(files)
  dry_run 1 "$scratch/trained.yaml"
  expect_code "dry run" 0 $? "$scratch/out"
  expect_text "dry run" "would start +from $scratch/trained/checkpoints/step_00000010" "$scratch/out"
  [ "$(files)" = "$before" ] || failed "files after a dry run: $(diff <(echo "$before") <(files))"
  "$rosa" pretrain "$scratch/base.yaml" --dry-run >"$scratch/out" 2>&1
  expect_code "pretrain" 0 $? "$scratch/out"
  [ "$(files)" = "$before" ] || failed "files after a dry run: $(diff <(echo "$before") <(files))"
}

# It resumes as a run would: from the checkpoint that the key names, and with the run's own errors.
case_resumes_as_the_run_would() {
  local before checkpoints=$scratch/going/checkpoints
  write_run going 10
  "$rosa" train "$scratch/going.yaml" --set checkpoint.every=5 >"$scratch/out" 2>&1
  expect_code "train" 0 $? "$scratch/out"
  before=$(files)
  dry_run 2 "$scratch/going.yaml" --set checkpoint.resume=step_00000005
  expect_code "an older checkpoint" 0 $? "$scratch/out"
  expect_text "an older checkpoint" "would start +from $checkpoints/step_00000005 .*, and set aside 1 checkpoint" "$scratch/out"
  dry_run 2 "$scratch/going.yaml" --set checkpoint.resume=none
  expect_code "none beside checkpoints" 2 $? "$scratch/out"
  dry_run 2 "$scratch/going.yaml" --set checkpoint.resume=/no/such
  expect_code "no such checkpoint" 4 $? "$scratch/out"
  dry_run 1 "$scratch/going.yaml" --set run.folder="$scratch/other" --set train.init_from=/no/such
  expect_code "no such start weights" 7 $? "$scratch/out"
  expect_text "no such start weights" "train.init_from: .*/no/such" "$scratch/out"
  [ "$(files)" = "$before" ] || failed "files after dry runs: $(diff <(echo "$before") <(files))"
  mv "$checkpoints" "$scratch/elsewhere"
  dry_run 1 "$scratch/going.yaml"
  expect_code "lost checkpoints" 4 $? "$scratch/out"
  mv "$scratch/elsewhere" "$checkpoints"
  echo '{"run_id": ' >"$scratch/going/run.json"
  dry_run 1 "$scratch/going.yaml"
  expect_code "a damaged record" 4 $? "$scratch/out"
}

case_exit_codes() {
  write_run wrong 50
  dry_run 3 "$scratch/wrong.yaml"
  expect_code "ranks that do not divide the micro-batches" 2 $? "$scratch/out"
  dry_run 2 "$scratch/wrong.yaml" --set model.folder=/no/such
  expect_code "no model" 7 $? "$scratch/out"
  dry_run 2 "$scratch/wrong.yaml" --set data.vocabulary_size=100
  expect_code "data that the model does not know" 2 $? "$scratch/out"
  dry_run 2 "$scratch/wrong.yaml" --set optimizer.learning_rate=nonsense
  expect_code "wrong configuration" 2 $? "$scratch/out"
  dry_run 2 "$scratch/wrong.yaml" --set run.folder="$scratch/wrong.yaml/run"
  expect_code "a run folder that can't be made" 7 $? "$scratch/out"
}

if [ $# = 0 ]; then set -- reports keeps_what_is_there resumes_as_the_run_would exit_codes; fi
run_cases "$@"
