#!/usr/bin/env python3
"""Which layers keep global attention: the choice of `rosa select` against every k-th layer, at equal bytes.

    bench/select_layers.py [--config configs/demo/natural.yaml] [--num-global 1] [--steps 400] [--seeds 1,2,3]
                           [--folder runs/bench/select] [--rosa build/bin/rosa] [--set KEY=VALUE ...] [--before WINDOW]

The layers that are not global get an adapter, so that all students of one number have the same state. Each is trained
for so many steps with each seed, one run at a time and one compute thread, and scored on the whole held-out text. "gap
closed" is a share of the gap between the student with windows only and the teacher, the same gap for all placements;
KL before training is that of the student whose adapters add nothing yet. Windows only has one run. Runs that are there already are not trained
again. Prints a Markdown table.
"""
import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
SUITE = "num_resamples: 100\ntasks:\n  - {task: language}\n"


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.folder = pathlib.Path(arguments.folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "language.yaml").write_text(SUITE)
        self.environment = dict(os.environ, OMP_NUM_THREADS="1")

    def rosa(self, *words):
        done = subprocess.run([self.arguments.rosa, *map(str, words)], cwd=ROOT, env=self.environment,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout

    def settings(self, **more):
        words = [f"--set={key}={value}" for key, value in more.items()]
        return [f"--set={text}" for text in self.arguments.overrides] + words

    def select(self, budget):
        return json.loads(self.rosa("select", self.arguments.config, "--budget", budget, "--json", *self.settings()))

    def kl_before(self, layers, num_layers, window):
        """Of a student with windows elsewhere and no adapters, on the text that rosa select looks at."""
        windows = [0 if layer in layers else window for layer in range(num_layers)]
        found = self.rosa("select", self.arguments.config, "--budget", 1e12, "--max-forwards", 1, "--json",
                          *self.settings(**{"student.sliding_window": str(windows).replace(" ", "")}))
        return json.loads(found)["start"]["kl"]

    def run_of(self, layers, num_layers, seed):
        """The run of a placement, trained if it is not there."""
        name = "global_" + ("_".join(map(str, layers)) or "none") + f"_seed{seed}"
        folder = self.folder / name
        adapters = [layer for layer in range(num_layers) if layer not in layers]
        self.rosa("train", self.arguments.config, *self.settings(**{
            "run.folder": folder, "run.seed": seed, "train.num_steps": self.arguments.steps,
            "evaluation.every": 0, "checkpoint.every": 100000, "compute.threads": 1,
            "student.global_layers": str(layers).replace(" ", ""),
            "adapter.layers": str(adapters).replace(" ", "")}))
        return folder

    def figures(self, run):
        """{variant: {"ce": ..., "kl": ...}} over the whole held-out text."""
        path = run / "language.json"
        if not path.exists():
            self.rosa("eval", run, "--suite", self.folder / "language.yaml", "--variants", "teacher,window,rosa",
                      "--set", "evaluation.num_sequences=all", "-o", path)
        rows = json.loads(path.read_text())["rows"]
        return {row["variant"]: {name: figure["value"] for name, figure in row["figures"].items()}
                for row in rows if row["group"] == "all"}


def mean_and_deviation(values):
    if len(values) < 2:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


def uniform(num_layers, num_global):
    """[(offset, layers)]: every k-th layer, from each of the first k."""
    stride = num_layers // num_global
    return [(offset, list(range(offset, num_layers, stride))[:num_global]) for offset in range(stride)]


def print_before(bench, num_layers, layer_bytes, window):
    print("| global layers | bytes a token | rosa select | every k-th layer | best of all | mean of all |")
    print("|---|---|---|---|---|---|")
    kls = {layers: bench.kl_before(layers, num_layers, window)
           for count in range(1, num_layers) for layers in itertools.combinations(range(num_layers), count)}
    for count in range(1, num_layers):
        chosen = tuple(sorted(bench.select(count * layer_bytes)["student.global_layers"]))
        of_count = {layers: kl for layers, kl in kls.items() if len(layers) == count}
        best = min(of_count, key=of_count.get)
        every = ", ".join(f"{list(layers)}: {kls[tuple(layers)]:.4f}" for _, layers in uniform(num_layers, count)
                          if num_layers % count == 0)
        chosen_kl = f"{kls[chosen]:.4f}" if chosen in kls else "none"
        print(f"| {count} | {count * layer_bytes:g} | {list(chosen)}: {chosen_kl} | {every} | "
              f"{list(best)}: {of_count[best]:.4f} | {statistics.mean(of_count.values()):.4f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rosa", default=str(ROOT / "build/bin/rosa"))
    parser.add_argument("--config", default="configs/demo/natural.yaml")
    parser.add_argument("--num-global", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--folder", default="runs/bench/select")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--before", type=int, metavar="WINDOW",
                        help="trains nothing: KL of every placement with windows of so many tokens elsewhere")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    everything = bench.select(1e12)
    num_layers, layer_bytes = len(everything["costs"]["rosa"]) - 1, everything["costs"]["global"]
    if arguments.before:
        return print_before(bench, num_layers, layer_bytes, arguments.before)
    budget = arguments.num_global * layer_bytes
    chosen = sorted(bench.select(budget)["student.global_layers"])
    placements = {"rosa select": chosen}
    every = uniform(num_layers, arguments.num_global)
    for offset, layers in {0: every[0], 1: every[-1]}.values():
        placements[f"one of {len(every)} layers, from {offset}"] = layers
    placements["windows only"] = []
    results = {}
    bare = None
    for seed in seeds:
        for name, layers in reversed(placements.items()):
            if not layers and seed != seeds[0]:
                continue  # only what the others are compared with
            results.setdefault(name, []).append(bench.figures(bench.run_of(layers, num_layers, seed)))
            bare = bare or results[name][0]["window"]["ce"]
    print(f"{num_layers} layers, {arguments.num_global} of them global: {budget:g} bytes a token beside the adapters'; "
          f"{arguments.steps} steps, seeds {arguments.seeds}\n")
    print("| placement | global layers | KL before training | KL after | ce after | gap closed before | gap closed after |")
    print("|---|---|---|---|---|---|---|")
    for name, layers in placements.items():
        figures = results[name]
        gap = bare - figures[0]["teacher"]["ce"]
        after = [(bare - one["rosa"]["ce"]) / gap for one in figures]
        print(f"| {name} | {layers} | {figures[0]['window']['kl']:.4f} | "
              f"{mean_and_deviation([one['rosa']['kl'] for one in figures])} | "
              f"{mean_and_deviation([one['rosa']['ce'] for one in figures])} | "
              f"{(bare - figures[0]['window']['ce']) / gap:.3f} | {mean_and_deviation(after)} |", flush=True)


if __name__ == "__main__":
    main()
