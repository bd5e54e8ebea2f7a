#!/usr/bin/env python3
"""Weak scaling: two ranks against two independent one-rank processes that run at the same moment.

    bench/weak_scaling.py [--rosa build/bin/rosa] [--runs 7] [--steps 40] [--micro-batches 8,1]

Every process has one compute thread and one automaton thread. A run's time is the median step_ms of its metrics.jsonl
after the first quarter (both independent processes: their mean). Runs of both kinds alternate; the efficiency is the
median over the runs of independent / joint. Prints a Markdown table.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def step_ms(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    return steps[len(steps) // 4:]


class Bench:
    def __init__(self, arguments, work):
        self.arguments = arguments
        self.work = work
        self.count = 0
        self.environment = dict(os.environ, OMP_NUM_THREADS="1")

    def command(self, micro_batches, folder):
        settings = {
            "run.folder": folder, "train.num_steps": self.arguments.steps, "train.micro_batches": micro_batches,
            "evaluation.every": 0, "logging.every": 1,
            "checkpoint.every": 1000000, "compute.threads": 1, "compute.automaton_threads": 1, "compute.device": "cpu",
            "parallel.reduction": self.arguments.reduction, "adapter.estimator": "sufa",
        }
        command = [self.arguments.rosa, "train", str(ROOT / "configs/demo/lines.yaml")]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        return command

    def folder(self):
        self.count += 1
        return self.work / f"run{self.count}"

    def start(self, command):
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)

    def finish(self, process):
        _, errors = process.communicate(timeout=1800)
        if process.returncode != 0:
            sys.exit(f"exit code {process.returncode}:\n{errors}")

    def independent(self, micro_batches):
        folders = [self.folder(), self.folder()]
        processes = [self.start(self.command(micro_batches, folder)) for folder in folders]
        for process in processes:
            self.finish(process)
        return statistics.mean(statistics.median(s["step_ms"] for s in step_ms(folder)) for folder in folders)

    def joint(self, micro_batches):
        folder = self.folder()
        launcher = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", "2"]
        self.finish(self.start(launcher + self.command(2 * micro_batches, folder)))
        steps = step_ms(folder)
        exposed = statistics.median(s["exposed_communication"] * s["gradient_communication_ms"] for s in steps)
        wait = statistics.median(s["communication_wait_ms"] for s in steps)
        return statistics.median(s["step_ms"] for s in steps), exposed, wait


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rosa", default=str(ROOT / "build/bin/rosa"))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--micro-batches", default="8,1", help="of a rank")
    parser.add_argument("--reduction", default="deterministic")
    arguments = parser.parse_args()
    print("| micro-batches a rank | independent ms a step | joint | of it exposed gradients | waiting for ranks | "
          "efficiency (median; lowest, highest) |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="rosa_weak_scaling_") as work:
        bench = Bench(arguments, pathlib.Path(work))
        for micro_batches in map(int, arguments.micro_batches.split(",")):
            runs = []
            for _ in range(arguments.runs):
                alone = bench.independent(micro_batches)
                runs.append((alone, *bench.joint(micro_batches)))
            ratios = [run[0] / run[1] for run in runs]
            columns = [statistics.median(column) for column in zip(*runs)]
            print(f"| {micro_batches} | {columns[0]:.1f} | {columns[1]:.1f} | {columns[2]:.2f} | {columns[3]:.2f} | "
                  f"{statistics.median(ratios):.3f} ({min(ratios):.3f}, {max(ratios):.3f}) |", flush=True)


if __name__ == "__main__":
    main()
