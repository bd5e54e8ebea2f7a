#!/usr/bin/env bash
# shellcheck disable=SC2034  # what is set here is used by the tests
# What the tests written as shell scripts share: cases, checks, deadlines, a scratch folder, and a small run to train.
# A test sources it, defines functions `case_NAME`, and ends with `run_cases NAME...`.
# Exit codes: 0 passed, 1 failed, 77 skipped (ctest: SKIP_RETURN_CODE).
# Variables: ROSA_BUILD, the build folder (default: build/ of this checkout).

set -uo pipefail
source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${ROSA_BUILD:-$source_root/build}
rosa=$build/bin/rosa
launch=$source_root/launch
export ROSA_PROGRAM=$rosa
num_failed=0

skip() {
  echo "skipped: $*"
  exit 77
}

[ -x "$rosa" ] || skip "there is no program $rosa"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/rosa_test.XXXXXX")
trap 'finish $?' EXIT
trap 'exit 143' TERM INT

# The script may define clean_up.
finish() {
  if declare -F clean_up >/dev/null; then clean_up; fi
  rm -rf "$scratch"
  exit "$1"
}

failed() {
  echo "FAILED: $*"
  num_failed=$((num_failed + 1))
}

# check WHAT COMMAND...: the command must succeed.
check() {
  local what=$1
  shift
  "$@" || failed "$what ($*)"
}

# expect_code WHAT EXPECTED ACTUAL [LOG]: shows the end of LOG where they differ.
expect_code() {
  if [ "$2" = "$3" ]; then return 0; fi
  failed "$1: expected exit code $2, got $3"
  if [ -n "${4:-}" ]; then tail -n 40 "$4"; fi
  return 1
}

expect_text() {  # expect_text WHAT PATTERN FILE
  grep -qE -- "$2" "$3" && return 0
  failed "$1: nothing matches '$2' in"
  tail -n 40 "$3"
}

# wait_until SECONDS COMMAND...: polls; fails at the deadline. Deadlines are ten times what it takes on an idle machine.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

# alive PID: and no zombie, which only waits for its parent.
alive() {
  local state
  state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
  [ -n "$state" ] && [ "$state" != Z ]
}
gone() { ! alive "$1"; }

# wait_for PID SECONDS: sets `code`, the exit code of a background job of this shell; one that outlives the deadline is
# killed, and has 124.
wait_for() {
  code=124
  if wait_until "$2" gone "$1"; then
    code=0
    wait "$1" || code=$?
  else
    kill -KILL "$1"
    wait "$1" 2>/dev/null
  fi
}

# Writes a small base model once, and the configuration FOLDER.yaml of a student with four micro-batches a step.
write_run() {  # write_run FOLDER NUM_STEPS
  local common="data: {kind: phrases, sequence_length: 48, vocabulary_size: 72}
evaluation: {every: 0}
logging: {every: 1}"
  if [ ! -d "$scratch/base/model" ]; then
    cat >"$scratch/base.yaml" <<YAML
$common
model: {from_scratch: true, architecture: {vocab_size: 72}}
train: {num_steps: 1, trainable: ['*']}
loss: {distill_alpha: 0}
run: {folder: $scratch/base}
YAML
    "$rosa" pretrain "$scratch/base.yaml" >"$scratch/base.log" 2>&1 || { cat "$scratch/base.log"; exit 1; }
  fi
  cat >"$scratch/$1.yaml" <<YAML
$common
model: {folder: $scratch/base/model}
student: {sliding_window: 8}
schedules: {learning_rate: {start: 1.0e-2}}
checkpoint: {every: 5}
train: {num_steps: $2, micro_batches: 4}
run: {folder: $scratch/$1}
YAML
}

losses_of() { grep -oE '"(step|loss)":[^,}]*' "$scratch/$1/metrics.jsonl"; }
last_checkpoint() { find "$scratch/$1/checkpoints" -maxdepth 1 -name 'step_*' 2>/dev/null | sort | tail -n 1; }
num_checkpoints() { find "$scratch/$1/checkpoints" -maxdepth 1 -name 'step_*' 2>/dev/null | wc -l; }
has_checkpoint() { [ "$(num_checkpoints "$1")" -gt 0 ]; }

# same_run A B: equal losses of every step, and equal bytes of every tensor in the last checkpoint.
same_run() {
  local a b file num_files=0
  a=$(last_checkpoint "$1")
  b=$(last_checkpoint "$2")
  if [ -z "$a" ] || [ "$(basename "$a")" != "$(basename "${b:-none}")" ]; then
    failed "last checkpoints: '$a' and '$b'"
    return 1
  fi
  for file in "$a"/*.safetensors; do
    cmp "$file" "$b/$(basename "$file")" || { failed "$1 and $2 differ in $(basename "$file")"; return 1; }
    num_files=$((num_files + 1))
  done
  [ "$num_files" -gt 0 ] || { failed "no tensors in $a"; return 1; }
  cmp <(losses_of "$1") <(losses_of "$2") || failed "the losses of $1 and $2 differ"
}

# run_cases NAME...
run_cases() {
  local name before
  for name in "$@"; do
    declare -F "case_$name" >/dev/null || { echo "no case $name"; exit 2; }
    before=$num_failed
    echo "[ RUN  ] $name"
    SECONDS=0
    "case_$name"
    if [ "$num_failed" = "$before" ]; then echo "[   OK ] $name ($SECONDS s)"; else echo "[ FAIL ] $name ($SECONDS s)"; fi
  done
  [ "$num_failed" = 0 ]
}
