"""Made-up folders of training runs for the tests of `rosa report`: python3 run_folders.py FOLDER [STEPS] makes them."""
import json
import math
import pathlib
import random
import sys

CONFIG = """recipe: default  # default
run:
  folder: {folder}  # --set
  seed: {seed}  # run.yaml:2
train:
  num_steps: {num_steps}  # run.yaml:3
adapter:
  layers: [0, 1]  # run.yaml:4
  name: "a # b"  # run.yaml:5
"""


def layer(number, share, rng):
    has_collapsed = number == 5 and share > 0.5
    return {"layer": number, "matched_share": 0.0 if has_collapsed else 0.5 + 0.4 * rng.random(),
            "mean_match_length": 2 + 8 * share * rng.random(), "max_match_length": 40, "match_lengths": [3, 2, 1],
            "query_entropy": 7.5 - number / 10, "key_entropy": 7.2 - number / 10, "dead_query_bits": 0.0,
            "constant_query_bits": 0.05 * number, "dead_key_bits": 0.01, "constant_key_bits": 0.02, "agreement": 0.9 - share / 2}


def run(folder, seed, num_steps=400, every=1, num_layers=12, with_sources=True):
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "checkpoints/step_00000200").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder, seed=seed, num_steps=num_steps))
    (folder / "run.json").write_text(json.dumps({"last_saved_step": num_steps // 2, "run_id": f"{seed:016x}"}))
    with open(folder / "metrics.jsonl", "w") as file:
        for step in range(0, num_steps, every):
            share = step / num_steps
            loss = (2 + seed / 4) * math.exp(-3 * share) + 0.2 * rng.random() + (4 if step == num_steps // 3 else 0)
            line = {"kind": "step", "step": step, "loss": None if step == num_steps // 4 else loss, "kl": loss / 2, "ce": loss,
                    "gradient_norm": math.exp(rng.gauss(0, 1)), "learning_rate": 0.01 * (1 - share), "alpha": min(1, 2 * share),
                    "bits_tau": 1.0, "attn_tau": 1.0, "num_skipped": int(share > 0.25), "num_spikes": int(share > 0.34),
                    "step_ms": 120 + 20 * rng.random(), "tokens_per_second": 9000 + 900 * rng.random(), "match_wait_ms": 30 * rng.random(),
                    "match_wait_share": 0.1 * rng.random(), "communication_wait_ms": 15 * rng.random(),
                    "gradient_communication_ms": 12.0, "exposed_communication": rng.random(), "memory_bytes": 5_000_000_000,
                    "optimizer_bytes": 50_000_000, "layers": [layer(i, share, rng) for i in range(num_layers)]}
            if with_sources:
                line["sources"] = [{"name": name, "num_sequences": 4, "epochs": share, "loss": loss + i, "kl": 0.0, "ce": loss}
                                   for i, name in enumerate(["books", "code & more", "web"])]
            file.write(json.dumps(line) + "\n")
            if step % max(1, num_steps // 8) == 0:
                file.write(json.dumps({"kind": "evaluation", "step": step, "ce": loss + 0.3, "perplexity": math.exp(loss + 0.3),
                                       "num_tokens": 8128, "num_sequences": 64}) + "\n")
        file.write('{"kind":"step","ste')  # a run that is under way
    (folder / "logs/rank_0000.log").write_text(
        f"08:00:00.000 info [rank 0] step {num_steps // 2 + 3}/{num_steps}  loss 1.0\n"
        "08:00:01.000 error [rank 0] rosa: rank 0 on host: write failed for 'x': No space left on device\n"
        f"09:00:00.000 info [rank 0] resumed from {folder}/checkpoints/step_00000200 (run x) after {num_steps // 2} of {num_steps} steps\n"
        "09:00:01.000 warning [rank 0] layer 5 has collapsed (step 201): none of its positions has a match\n")
    return str(folder)


def make(folder, num_steps=400):
    return [run(pathlib.Path(folder) / name, seed, num_steps) for seed, name in ((1, "first"), (2, "second_with_a_long_name"))]


if __name__ == "__main__":
    make(sys.argv[1], *map(int, sys.argv[2:]))
