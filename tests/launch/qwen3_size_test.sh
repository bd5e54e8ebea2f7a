#!/usr/bin/env bash
# The whole way at the shapes of Qwen3-0.6B (random weights) with Qwen3's own tokenizer: text to token files, dry run, two
# steps on two ranks, evaluation, text out, export, and the export in transformers. Needs 16 GB of memory, and for the
# last part a Python with torch and transformers.
source "$(dirname "${BASH_SOURCE[0]}")/../support/shell_test.sh"

[ -f "${ROSA_QWEN3_TOKENIZER:-}" ] || skip "ROSA_QWEN3_TOKENIZER names no tokenizer.json (launch/long_tests.sh makes it)"
available_kib=$(awk '/MemAvailable/ { print $2 }' /proc/meminfo)
[ "$available_kib" -gt 16000000 ] || skip "$((available_kib / 1000000)) GB of memory are free; 16 are needed"

model=$scratch/runs/base/model
run=$scratch/runs/student
python=${ROSA_PYTHON:-python3}

# A model of that shape: one step that trains a single norm.
make_model() {
  cat >"$scratch/base.yaml" <<YAML
run: {folder: $scratch/runs/base, seed: 1}
model:
  from_scratch: true
  architecture: {vocab_size: 151936, hidden_size: 1024, intermediate_size: 3072, num_hidden_layers: 28,
                 num_attention_heads: 16, num_key_value_heads: 8, head_dim: 128, max_position_embeddings: 40960,
                 rope_theta: 1000000, tie_word_embeddings: true}
data: {kind: phrases, sequence_length: 32}
train: {num_steps: 1, trainable: ["model.norm.weight"]}
evaluation: {every: 0}
loss: {distill_alpha: 0}
YAML
  "$rosa" pretrain "$scratch/base.yaml" >"$scratch/out" 2>&1
  expect_code "pretrain" 0 $? "$scratch/out" || return 1
  cp "$ROSA_QWEN3_TOKENIZER" "$model/tokenizer.json"
}

run_config() {
  cat >"$scratch/student.yaml" <<YAML
run: {folder: $run, seed: 1}
model: {folder: $model}
student: {sliding_window: 32}
data: {kind: token_file, train_path: $scratch/train.tokens, held_out_path: $scratch/held_out.tokens, sequence_length: 128}
train: {num_steps: 2, micro_batches: 2}
evaluation: {every: 0, num_sequences: 1}
YAML
}

case_from_text_to_transformers() {
  make_model || return
  run_config
  "$rosa" data pack "$source_root/docs" -o "$scratch/train.tokens" --tokenizer "$model" >"$scratch/out" 2>&1
  expect_code "data pack" 0 $? "$scratch/out" || return
  "$rosa" data pack "$source_root/README.md" -o "$scratch/held_out.tokens" --tokenizer "$model" >"$scratch/out" 2>&1
  expect_code "data pack" 0 $? "$scratch/out" || return
  "$launch/run_local.sh" -n 2 train "$scratch/student.yaml" --dry-run >"$scratch/out" 2>&1
  expect_code "dry run" 0 $? "$scratch/out" || return
  "$launch/run_local.sh" -n 2 train "$scratch/student.yaml" >"$scratch/out" 2>&1
  expect_code "train" 0 $? "$scratch/out" || return
  "$rosa" eval "$run" >"$scratch/out" 2>&1
  expect_code "eval" 0 $? "$scratch/out"
  "$rosa" generate "$run" --ids 9707,11,1879,0 -n 8 --temperature 0 --print-ids >"$scratch/ids" 2>"$scratch/out"
  expect_code "generate" 0 $? "$scratch/out"
  "$rosa" generate "$run" --prompt "Hello, world!" -n 8 --temperature 0 >"$scratch/text" 2>"$scratch/out"
  expect_code "generate in text" 0 $? "$scratch/out"
  expect_text "generate in text" "^Hello, world!" "$scratch/text"
  "$rosa" export "$run" -o "$scratch/export" >"$scratch/out" 2>&1
  expect_code "export" 0 $? "$scratch/out" || return
  in_transformers
}

# The same text and the same continuation there.
in_transformers() {
  "$python" -c 'import torch, transformers' 2>/dev/null || {
    echo "not checked: $python has no torch and transformers"
    return 0
  }
  "$python" - "$scratch/export" "$scratch/ids" >"$scratch/out" 2>&1 <<'PYTHON'
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, ids = sys.argv[1], [int(i) for i in open(sys.argv[2]).read().split()]
tokenizer = AutoTokenizer.from_pretrained(folder)
prompt = tokenizer("Hello, world!", return_tensors="pt").input_ids
assert prompt[0].tolist() == ids[:4], (prompt, ids)
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
made = model.generate(prompt, max_new_tokens=8, do_sample=False)[0].tolist()
assert made == ids, (made, ids)
PYTHON
  expect_code "transformers" 0 $? "$scratch/out"
}

if [ $# = 0 ]; then set -- from_text_to_transformers; fi
run_cases "$@"
