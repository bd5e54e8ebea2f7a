"""lm-evaluation-harness on a Qwen3 with ROSA: a task of a local file, whose loglikelihoods equal those of rosa's own logits.

Usage: lm_eval_test.py WRITE_PARITY_CASE LIBROSA_C
Exit code 77: skipped, because torch, transformers or lm_eval cannot be imported here.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TOLERANCE = 1e-4  # of a sum over some ten tokens
CUTS = [(0, 5, 9), (0, 60, 75), (0, 75, 90), (1, 40, 41), (1, 20, 90), (1, 80, 88)]
# Rows, ends of contexts, ends of continuations. No two ends of a row are equal: the harness gives requests with one end the
# logits of the first, as many as that one has.
TASK = """task: rosa_lines
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{context}}}}"
doc_to_target: "{{{{continuation}}}}"
target_delimiter: ""
metric_list: [{{metric: perplexity, aggregation: perplexity, higher_is_better: false}}]
"""


def write_tokenizer(folder, vocab_size):
    """One character a token, so that the case's ids have a text."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast
    characters = [chr(ord("0") + i) for i in range(vocab_size)]
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(characters)}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=characters[-1]).save_pretrained(folder)
    return characters


def write_task(folder, characters, ids):
    folder.mkdir()
    with open(folder / "lines.jsonl", "w") as file:
        for row, middle, end in CUTS:
            text = "".join(characters[i] for i in ids[row, :end].tolist())
            file.write(json.dumps({"context": text[:middle], "continuation": text[middle:]}) + "\n")
    (folder / "rosa_lines.yaml").write_text(TASK.format(file=folder / "lines.jsonl"))


def run_harness(model, task, output, library, scratch):
    environment = {**os.environ, "ROSA_C_LIBRARY": library, "HF_HOME": str(scratch / "hf"), "HF_HUB_OFFLINE": "1",
                   "HF_DATASETS_OFFLINE": "1", "HF_MODULES_CACHE": str(scratch / "modules"), "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args",
                    f"pretrained={model},trust_remote_code=True,dtype=float32", "--tasks", "rosa_lines",
                    "--include_path", str(task), "--device", "cpu", "--batch_size", "2", "--log_samples",
                    "--output_path", str(output)], env=environment, check=True)
    [samples] = output.rglob("samples_rosa_lines_*.jsonl")
    records = sorted((json.loads(line) for line in open(samples)), key=lambda record: record["doc_id"])
    return [float(record["filtered_resps"][0][0]) for record in records]


def check_case(case, scratch, library):
    import torch
    from safetensors.torch import load_file
    folder, expected = case / "model", load_file(case / "expected.safetensors")
    ids = expected["input_ids"]
    characters = write_tokenizer(folder, json.loads((folder / "config.json").read_text())["vocab_size"])
    write_task(scratch / f"{case.name}_task", characters, ids)
    found = run_harness(folder, scratch / f"{case.name}_task", scratch / f"{case.name}_out", library, scratch)
    logs = torch.log_softmax(expected["student_logits"].double(), -1)
    good = len(found) == len(CUTS)
    for (row, middle, end), value in zip(CUTS, found):
        own = logs[row, middle - 1:end - 1].gather(1, ids[row, middle:end, None]).sum().item()
        print(f"{case.name}: row {row}, tokens {middle} to {end}: harness {value:.5f}, rosa {own:.5f}")
        good &= abs(own - value) <= TOLERANCE * max(1, abs(own))
    return good


def main(writer, library):
    try:
        import lm_eval
        import torch  # noqa: F401
        import transformers
    except Exception as error:  # a torch without its libraries raises OSError
        print(f"SKIPPED: {sys.executable} cannot import lm_eval: {error}")
        return 77
    print(f"lm_eval {getattr(lm_eval, '__version__', '')}, transformers {transformers.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        cases = Path(scratch) / "cases"
        subprocess.run([writer, str(cases)], check=True)
        good = all([check_case(case, Path(scratch), library) for case in sorted(cases.iterdir())])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
