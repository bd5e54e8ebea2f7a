#!/usr/bin/env python3
"""The whole program at the shapes of Qwen3-0.6B: a step by part, memory by kind, evaluation and generation.

    bench/real_size.py [--rosa build/bin/rosa] [--lengths 512,1024] [--threads 2] [--steps 3] [--set KEY=VALUE ...]
                       [--python PYTHON] [-o FILE.md]

Makes random weights (bench/random_model.py) in a temporary folder. Of the steps the first is left out; a part is the sum
of its spans in the trace, the median over the steps. With --python, a Python that has torch and transformers, the same
model runs there too: forward and backward of the bare base at each length, and the peak of its process.
Prints a Markdown file.
"""
import argparse
import collections
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ["teacher forward", "student forward", "backward", "optimizer", "loss", "lm_head", "attention", "mlp",
         "pack and submit", "wait for automata", "estimator"]
BARE = """
import resource, sys, time, torch, transformers
folder, length, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
ids = torch.randint(0, 1000, (1, length))
best = float("inf")
for _ in range(3):
    begin = time.perf_counter()
    model(ids, labels=ids).loss.backward()
    best = min(best, time.perf_counter() - begin)
    model.zero_grad(set_to_none=True)
print(best, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def gib(count):
    return f"{count / 2**30:.2f} GiB"


def run(command, environment):
    """Seconds and peak bytes of a command; ends the program where it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, cwd=ROOT, env=environment)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{output}")
    return time.perf_counter() - begin, usage.ru_maxrss * 1024, output


class RealSize:
    def __init__(self, arguments, work):
        self.arguments, self.work = arguments, work
        self.model = work / "model"
        self.environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
        run([sys.executable, ROOT / "bench/random_model.py", self.model], self.environment)

    def config(self, length):
        file = self.work / f"run_{length}.yaml"
        file.write_text(f"""
run: {{folder: {self.work / f'run_{length}'}, seed: 1}}
model: {{folder: {self.model}, compute_dtype: bfloat16}}
data: {{kind: phrases, sequence_length: {length}, vocabulary_size: 1000}}
train: {{num_steps: {self.arguments.steps}, micro_batch_sequences: 1, micro_batches: 1}}
evaluation: {{every: 0, num_sequences: 2}}
logging: {{every: 1}}
compute: {{device: cpu, threads: {self.arguments.threads}, automaton_threads: 1}}
""")
        return file

    def settings(self):
        return [word for text in self.arguments.set for word in ("--set", text)]

    def step(self, length):
        file = self.config(length)
        folder = self.work / f"run_{length}"
        trace = self.work / f"trace_{length}.json"
        plan = json.loads(run([self.arguments.rosa, "plan", file, "--json", *self.settings()], self.environment)[2])
        run([self.arguments.rosa, "train", file, f"--trace={trace}", "--trace-steps", self.arguments.steps,
             *self.settings()], self.environment)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if line["kind"] == "step"]
        spans = collections.defaultdict(lambda: collections.defaultdict(float))
        for event in json.loads(trace.read_text()):
            if event["ph"] == "X" and event["args"].get("step", 0) > 0:
                spans[event["name"]][event["args"]["step"]] += event["dur"] / 1e6
        parts = {name: statistics.median(spans[name].values()) for name in PARTS if name in spans}
        return {"seconds": statistics.median(line["step_ms"] for line in steps[1:]) / 1e3,
                "peak": max(line["memory_bytes"] for line in steps), "parts": parts, "memory": plan["memory_bytes"]}

    def others(self, length):
        folder = self.work / f"run_{length}"
        evaluation = run([self.arguments.rosa, "eval", folder], self.environment)
        generation = run([self.arguments.rosa, "generate", folder, "--ids", ",".join(["7"] * 16), "-n", 64,
                          "--print-ids"], self.environment)
        return {"eval, 2 sequences": evaluation[:2], "generate, 64 tokens": generation[:2]}

    def bare(self, length):
        seconds, peak = run([self.arguments.python, "-c", BARE, self.model, length, self.arguments.threads],
                            self.environment)[2].split()[-2:]
        return float(seconds), int(peak) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rosa", default=str(ROOT / "build/bin/rosa"))
    parser.add_argument("--lengths", default="512,1024")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--python")
    parser.add_argument("-o", "--output", type=pathlib.Path)
    arguments = parser.parse_args()
    lengths = [int(length) for length in arguments.lengths.split(",")]
    with tempfile.TemporaryDirectory(prefix="rosa_real_size_") as work:
        bench = RealSize(arguments, pathlib.Path(work))
        steps = {length: bench.step(length) for length in lengths}
        others = bench.others(lengths[0])
        bare = {length: bench.bare(length) for length in lengths} if arguments.python else {}
    load = os.getloadavg()[0]
    version = run([arguments.rosa, "--version"], os.environ)[2].strip()
    text = [f"# At the shapes of Qwen3-0.6B, {datetime.date.today()}", "",
            f"`{' '.join(['bench/real_size.py', *sys.argv[1:]])}`, {version}, {arguments.threads} threads, load {load:.1f}. "
            "Random bfloat16 weights, one sequence a step.", "",
            "| seconds of a step | " + " | ".join(f"T = {length}" for length in lengths) + " |",
            "|---" * (len(lengths) + 1) + "|",
            "| all | " + " | ".join(f"{steps[length]['seconds']:.2f}" for length in lengths) + " |"]
    for name in PARTS:
        if any(name in steps[length]["parts"] for length in lengths):
            text.append(f"| {name} | " + " | ".join(f"{steps[length]['parts'].get(name, 0):.2f}" for length in lengths) +
                        " |")
    if bare:
        text.append("| bare base in transformers, forward and backward | " +
                    " | ".join(f"{bare[length][0]:.2f}" for length in lengths) + " |")
    text += ["", "The loss holds the products with lm_head, forwards and backward hold attention and MLP. With activation "
             "checkpointing the backward runs the forwards again.", "",
             "| memory | " + " | ".join(f"T = {length}" for length in lengths) + " |", "|---" * (len(lengths) + 1) + "|",
             "| peak, measured | " + " | ".join(gib(steps[length]["peak"]) for length in lengths) + " |",
             "| peak, planned | " + " | ".join(gib(steps[length]["memory"]["host_peak"]) for length in lengths) + " |"]
    for kind in ("mapped", "base", "adapters", "gradients", "optimizer", "activations", "loss", "automata"):
        text.append(f"| {kind}, planned | " + " | ".join(gib(steps[length]["memory"][kind]) for length in lengths) + " |")
    if bare:
        text.append("| bare base in transformers | " + " | ".join(gib(bare[length][1]) for length in lengths) + " |")
    text += ["", "| command | seconds | peak of the process |", "|---|---|---|"]
    text += [f"| {name} | {seconds:.1f} | {gib(peak)} |" for name, (seconds, peak) in others.items()]
    text.append("")
    output = "\n".join(text)
    print(output)
    if arguments.output:
        arguments.output.write_text(output)


if __name__ == "__main__":
    main()
