#!/usr/bin/env bash
# rosa plan: its figures for people and for scripts, its refusals, and its peak against what a run measures.
source "$(dirname "${BASH_SOURCE[0]}")/../support/shell_test.sh"

plan() { "$rosa" plan "$@" >"$scratch/out" 2>&1; }

# A student of the demo's teacher.
write_demo() {
  cat >"$scratch/demo.yaml" <<YAML
run: {folder: $scratch/demo, seed: 1}
model: {folder: $source_root/demo/teachers/natural}
student: {sliding_window: 16}
data: {kind: phrases, sequence_length: 1024, vocabulary_size: 128}
train: {num_steps: 2, micro_batch_sequences: 4, micro_batches: 2}
evaluation: {every: 0}
logging: {every: 1}
compute: {device: cpu, automaton_threads: 1}
YAML
}

case_reports() {
  local pattern
  write_demo
  plan "$scratch/demo.yaml"
  expect_code "plan" 0 $? "$scratch/out"
  for pattern in "1 rank on 1 host, cpu" "34.5 k of the adapters; 9.92 k trained" "8 sequences, 8192 tokens, .*FLOP" "activations +[0-9]+ MiB" \
    "^  peak +[0-9]+ MiB" "with train.activation_checkpointing +[0-9]+ sequences" "checkpoints .* free for $scratch/demo" \
    "drawn at random" "Nothing looks wrong"; do
    expect_text "plan" "$pattern" "$scratch/out"
  done
  [ ! -e "$scratch/demo" ] || failed "a plan made the run folder"
  plan "$scratch/demo.yaml" -n 1 --hosts 2 --bandwidth 1 --set parallel.sharded_optimizer=true train.micro_batches=4
  expect_code "two hosts" 0 $? "$scratch/out"
  expect_text "two hosts" "a rank sends .*, a host .* to others" "$scratch/out"
  expect_text "two hosts" "s at 1 Gbit/s" "$scratch/out"
  plan "$scratch/demo.yaml" --memory 0.16
  expect_code "too little memory" 0 $? "$scratch/out"
  expect_text "too little memory" "WARNING: the run does not fit; a micro-batch of [0-9]+ fits" "$scratch/out"
  plan "$scratch/demo.yaml" --device gpu
  expect_text "a GPU that is not known" "not known: --memory GIB" "$scratch/out"
}

# The model's folder holds no weights, and the data is not made yet.
case_needs_nothing_but_sizes() {
  write_demo
  mkdir "$scratch/sizes"
  cp "$source_root/demo/teachers/natural/config.json" "$scratch/sizes/"
  plan "$scratch/demo.yaml" --set model.folder="$scratch/sizes" data.kind=token_file data.train_path="$scratch/none.tokens" \
    data.vocabulary_size=0
  expect_code "no weights, no data" 0 $? "$scratch/out"
  expect_text "no weights, no data" "WARNING: $scratch/none.tokens is not there yet" "$scratch/out"
  head -c 100000 "$source_root/demo/text/prose_train.txt" >"$scratch/text.txt"
  "$rosa" data pack "$scratch/text.txt" -o "$scratch/train.tokens" --bytes >"$scratch/out" 2>&1
  expect_code "data pack" 0 $? "$scratch/out"
  plan "$scratch/demo.yaml" --set data.kind=token_file data.train_path="$scratch/train.tokens" data.vocabulary_size=0
  expect_code "tokens that the model does not know" 2 $? "$scratch/out"
  sed -i 's/"vocab_size": 128/"vocab_size": 512/' "$scratch/sizes/config.json"
  plan "$scratch/demo.yaml" --set model.folder="$scratch/sizes" data.kind=token_file \
    data.train_path="$scratch/train.tokens" data.vocabulary_size=0
  expect_code "data" 0 $? "$scratch/out"
  expect_text "data" "97 sequences; the steps make 0.165 epochs" "$scratch/out"
}

case_refuses() {
  write_demo
  plan "$scratch/demo.yaml" -n 3
  expect_code "ranks that do not divide the micro-batches" 2 $? "$scratch/out"
  expect_text "ranks" "train.micro_batches: a global batch of 2" "$scratch/out"
  plan "$scratch/demo.yaml" --set model.folder=/no/such
  expect_code "no model" 7 $? "$scratch/out"
  plan "$scratch/demo.yaml" --set optimizer.learning_rate=1
  expect_code "no such key" 2 $? "$scratch/out"
  plan "$scratch/demo.yaml" --set adapter.layers=[7]
  expect_code "no such layer" 2 $? "$scratch/out"
  plan "$scratch/none.yaml"
  expect_code "no configuration" 2 $? "$scratch/out"
  for option in "--device tpu" "-n 0" "--hosts 0" "--memory 0" "--bandwidth -1"; do
    # shellcheck disable=SC2086  # two words
    plan "$scratch/demo.yaml" $option
    expect_code "$option" 2 $? "$scratch/out"
  done
}

# Peaks of the process, within 10 %.
case_peak_is_what_a_run_measures() {
  local options
  # Without gates, whose temporaries the plan counts less closely (docs/planning.md).
  local plain="adapter.place=attention adapter.gates=[] adapter.mixed_queries=false adapter.candidates=latest adapter.estimator=sufa adapter.tie_start=query_key adapter.output_scale=1"
  write_demo
  for options in train.micro_batch_sequences=1 train.micro_batch_sequences=16 \
    "train.micro_batch_sequences=4 train.activation_checkpointing=true"; do
    rm -rf "$scratch/demo"
    # shellcheck disable=SC2086  # several words
    "$rosa" plan "$scratch/demo.yaml" --json --set $options $plain >"$scratch/plan.json"
    # shellcheck disable=SC2086
    "$rosa" train "$scratch/demo.yaml" --set $options $plain >"$scratch/out" 2>&1
    expect_code "train" 0 $? "$scratch/out" || return
    python3 - "$scratch/plan.json" "$scratch/demo/metrics.jsonl" "$options" <<'PYTHON' || failed "the peak of $options"
import json, sys
planned = json.load(open(sys.argv[1]))["memory_bytes"]["host_peak"]
measured = [json.loads(line) for line in open(sys.argv[2])]
measured = max(line["memory_bytes"] for line in measured if line["kind"] == "step")
print(f"{sys.argv[3]}: planned {planned >> 20} MiB, measured {measured >> 20} MiB")
sys.exit(not 0.9 < planned / measured < 1.1)
PYTHON
  done
}

if [ $# = 0 ]; then set -- reports needs_nothing_but_sizes refuses peak_is_what_a_run_measures; fi
run_cases "$@"
