"""Made-up folders of `rosa experiment` for the tests of `rosa report`: python3 experiment_folders.py FOLDER makes
FOLDER/gate, counting, recall and timing. Every number is a function of its place, so the folders are always the same."""
import json
import math
import os
import random
import sys

GATE = [("none", "", 1, 0), ("flip", "joint", 1, 5), ("flip", "channel", 1, 5), ("flip", "causal", 1, 5), ("flip_mode", "joint", 1, 5),
        ("flip_mode", "channel", 1, 5), ("flip_mode", "causal", 1, 5)]
GATE += [(name, scope, 2, cost) for name, cost in [("leg", 12), ("disarm", 2), ("rloo", 2), ("arms", 2), ("rodeo", 2), ("double_cv", 2)]
         for scope in ("joint", "channel", "causal")]
GATE += [("sufa", "", 1, 1), ("soft_rosa", "", 1, 1), ("local_counterfactual", "", 1, 3)]


def label_of(estimator, scope, samples):
    return estimator + ("/" + scope if scope else "") + (f" K{samples}" if samples > 1 else "")


def write_lines(path, values):
    with open(path, "w") as file:
        file.writelines(json.dumps(value) + "\n" for value in values)


def quality(estimator, scope):
    """What share of the way to the lowest loss an arm goes."""
    base = {"none": 0.0, "flip": 0.95, "flip_mode": 0.9, "leg": 0.85, "disarm": 0.55, "rloo": 0.5, "arms": 0.58, "rodeo": 0.7,
            "double_cv": 0.66, "sufa": 0.35, "soft_rosa": 0.3, "local_counterfactual": 0.62, "dense_surrogate": 0.75, "bit_flip": 0.8}
    return base[estimator] * {"": 1, "joint": 0.75, "channel": 0.92, "causal": 1.04}[scope]


def write_experiment(folder, task, title, arms, seeds, settings):
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/experiment.json", "w") as file:
        json.dump({"task": task, "title": title, "description": f"A made-up comparison, for the tests: {title.lower()}.",
                   "command": f"rosa experiment configs/experiments/{task}.yaml", "machine": "made-up CPU, 2 cores", "commit": "0123abcd",
                   "world_size": 2, "date": "2026-11-25", "settings": settings, "seeds": seeds,
                   "arms": [{"label": label_of(*arm[:3]), "estimator": arm[0], "scope": arm[1], "num_samples": arm[2],
                             "evaluations": arm[3], "note": ""} for arm in arms]}, file, indent=1)


def write_run(folder, arm, seed, num_steps, per_second, task, done=1.0):
    estimator, scope, samples, _ = arm
    label = label_of(estimator, scope, samples)
    folder = f"{folder}/{label.replace('/', '_').replace(' ', '_')}-seed{seed}"
    os.makedirs(folder, exist_ok=True)
    noise = random.Random(f"{label} {seed}")
    reach = quality(estimator, scope) + noise.gauss(0, 0.02)

    def loss(step):
        return 1.3 - 0.9 * reach * (1 - math.exp(-4 * step / num_steps)) + 1.2 * math.exp(-60 * step / num_steps)

    lines = []
    for step in range(10, int(num_steps * done) + 1, 10):
        lines.append({"kind": "step", "step": step, "loss": loss(step) + noise.gauss(0, 0.03), "seconds": step / per_second,
                      "step_ms": 1000 / per_second})
        if step % 100 == 0:
            lines.append({"kind": "evaluation", "step": step, "seconds": step / per_second, "loss": loss(step), "accuracy": 0.5,
                          "zeroed_loss": 1.3, "zeroed_accuracy": 0.3})
            if estimator != "none":
                lines.append({"kind": "linearisation", "step": step, "correlation": 1 - 0.3 * (1 - reach) - 0.1 * step / num_steps})
    write_lines(f"{folder}/metrics.jsonl", lines)
    if done < 1:
        with open(f"{folder}/metrics.jsonl", "a") as file:
            file.write('{"kind": "step", "step": 99')
        return

    def score(steps):
        return {"steps": steps, "seconds": steps / per_second, "loss": loss(steps), "accuracy": min(0.99, 0.3 + 0.6 * reach),
                "zeroed_loss": 1.31, "zeroed_accuracy": 0.3}

    result = {"label": label, "seed": seed, "num_steps": num_steps, "seconds": num_steps / per_second, "steps_per_second": per_second,
              "step_ms": {"mean": 1000 / per_second, "p50": 960 / per_second, "p90": 1200 / per_second}, "equal_steps": score(num_steps),
              "equal_time": score(min(num_steps, int(2 * per_second))), "best_loss": loss(num_steps) - 0.02, "final_loss": loss(num_steps)}
    if task == "counting":
        result["rosa_only_accuracy"] = 0.2 + 0.5 * reach
        golds = ["12 11 10 9 8 7 6 5 4 3 2 1 0 , 31 30 29 28 27 26 25", "3 2 1 0 , 104 103 102 101 100 99 98 97 96 95", "7 6 5 4 3 2 1 0"]
        garble = lambda text, share: "".join(c if noise.random() < share else noise.choice("0123456789 ,") for c in text)
        result["lines"] = [{"gold": gold, "rosa": garble(gold, 0.3 + 0.5 * reach), "model": garble(gold, 0.5 + 0.5 * reach)}
                           for gold in golds]
    if task == "recall":
        result["by_distance"] = [{"distance": d, "accuracy": max(0.02, min(1.0, reach * 1.2 - 0.06 * math.log2(d / 16)))}
                                 for d in (16, 32, 64, 128, 256, 512, 1024)]
    with open(f"{folder}/result.json", "w") as file:
        json.dump(result, file)


def write_variance(folder, arms, steps):
    lines = []
    for step in steps:
        for estimator, scope, own_samples, cost in arms:
            biased = estimator in ("sufa", "soft_rosa", "local_counterfactual")
            for samples in [own_samples] if estimator == "none" or own_samples == 1 else [2, 4, 8, 16]:
                exact = estimator == "none" or biased
                size = {"flip": 8, "flip_mode": 2, "leg": 5, "disarm": 36, "rloo": 48, "arms": 33, "rodeo": 22, "double_cv": 25}.get(estimator, 0)
                lines.append({"kind": "variance", "step": step, "label": label_of(estimator, scope, samples), "estimator": estimator,
                              "scope": scope, "num_samples": samples, "evaluations": cost * samples / own_samples,
                              "microseconds": 3.0 + 160 * cost * samples / own_samples, "variance": 0 if exact else
                              size * {"joint": 3, "channel": 1.4}.get(scope, 1) / samples * (1 + step / 1000),
                              "bias": 1.0 if estimator == "none" else 0.7 if biased else 0.03,
                              "cosine": 0 if estimator == "none" else min(0.99, 0.15 + 0.7 * quality(estimator, scope))})
    write_lines(f"{folder}/studies.jsonl", lines)


def write_timing(folder):
    lines = []
    for bits in (1, 8):
        for family, factor in [("random", 1), ("constant", 1.6), ("period 7", 1.4), ("Thue-Morse", 1.2)]:
            for length in (128, 256, 512, 1024, 2048, 4096):
                forward = 0.9 * length / 128 * math.log2(length) * factor
                times = {"forward": forward, "flip": 5 * forward, "disarm": 2.1 * forward, "leg": 12 * forward,
                         "brute force": forward * length * 0.4}
                lines += [{"kind": "timing", "kernel": kernel, "family": family, "length": length, "bits": bits, "microseconds": value}
                          for kernel, value in times.items()]
    write_lines(f"{folder}/studies.jsonl", lines)


def make(root):
    settings = {"num_steps": 500, "seconds": 2.0, "batch": 32, "length": 128, "channels": 8}
    write_experiment(f"{root}/gate", "gate_only", "Gate-only task", GATE, [0, 1, 2, 3, 4], settings)
    for i, arm in enumerate(GATE):
        for seed in range(5):
            unfinished = i == 5 and seed > 2 or i == len(GATE) - 1 and seed == 4
            write_run(f"{root}/gate", arm, seed, 500, 900 / (3 + arm[3]), "gate_only", 0.42 if unfinished else 1.0)
    write_variance(f"{root}/gate", GATE, [0, 100, 200, 400])
    few = [("none", "", 1, 0), ("flip", "causal", 1, 5), ("disarm", "joint", 2, 2)]
    write_experiment(f"{root}/counting", "counting", "FastRosa's counting task", few, [0, 1], settings)
    for arm in few:
        for seed in range(2):
            write_run(f"{root}/counting", arm, seed, 500, 200 / (3 + arm[3]), "counting")
    adapters = [(name, "", 1, 1) for name in ("none", "sufa", "soft_rosa", "dense_surrogate", "bit_flip", "local_counterfactual")]
    write_experiment(f"{root}/recall", "recall", "Associative recall", adapters, [0, 1, 2], settings)
    for arm in adapters:
        for seed in range(3):
            write_run(f"{root}/recall", arm, seed, 500, 300 / (3 + arm[3]), "recall")
    write_experiment(f"{root}/timing", "timing", "Time against length", [], [], {})
    write_timing(f"{root}/timing")
    return [f"{root}/{name}" for name in ("gate", "counting", "recall", "timing")]


if __name__ == "__main__":
    make(sys.argv[1])
