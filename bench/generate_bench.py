#!/usr/bin/env python3
"""Tokens per second of rosa and of bare transformers with its cache, in turns, at the same shapes and threads.

  generate_bench.py build/bench/generate_bench [--dtype float32] [--threads 2] [--rounds 5] [--tokens 16] [--contexts 16 4096]

Random weights in the shapes of Qwen3-0.6B. Needs torch and transformers. Each round runs every side once; the table
gives the median of the rounds and the ratio of each round's pair. Time counts from the first new token to the last, so
the prompt's does not.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

QWEN3_0_6B = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024,
    "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
    "head_dim": 128, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
    "tie_word_embeddings": True, "hidden_act": "silu", "attention_bias": False, "initializer_range": 0.02,
}


class Clock:
    """A streamer that takes the time of each token."""

    def __init__(self):
        self.times = []

    def put(self, _):
        self.times.append(time.perf_counter())

    def end(self):
        pass

    def seconds(self):  # the first put is the prompt, the second the first token
        return self.times[-1] - self.times[1]


class Transformers:
    def __init__(self, dtype, threads):
        import torch
        from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM
        torch.set_num_threads(threads)
        self.torch = torch
        config = Qwen3Config(**{k: v for k, v in QWEN3_0_6B.items() if k != "architectures"})
        torch.set_default_dtype(getattr(torch, dtype))
        self.model = Qwen3ForCausalLM(config).eval()
        torch.set_default_dtype(torch.float32)
        self.cache = DynamicCache
        self.filled = {}

    def run(self, context, tokens):
        torch = self.torch
        with torch.no_grad():
            if context not in self.filled:
                # What the keys and values are does not matter for the speed.
                prompt = torch.randint(0, 151936, (1, context))
                cache = self.cache(config=self.model.config)
                for layer in range(28):
                    cache.update(*(torch.randn(1, 8, context - 1, 128).to(self.model.dtype) for _ in "kv"), layer)
                self.filled[context] = (prompt, cache)
            prompt, cache = self.filled[context]
            clock = Clock()
            self.model.generate(prompt, past_key_values=cache, max_new_tokens=tokens + 1, min_new_tokens=tokens + 1,
                                do_sample=False, streamer=clock, attention_mask=torch.ones_like(prompt))
            num_bytes = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
            cache.crop(context - 1 - cache.get_seq_length())  # tokens to remove, as a negative number
            return clock.seconds(), num_bytes


class Rosa:
    def __init__(self, program, dtype, window, threads):
        self.folder = tempfile.TemporaryDirectory()
        with open(os.path.join(self.folder.name, "config.json"), "w") as file:
            json.dump(QWEN3_0_6B, file)
        self.process = subprocess.Popen([program, self.folder.name, dtype, str(window), str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def run(self, kind, context, tokens, speculation):
        self.process.stdin.write(f"{kind} {context} {tokens} {speculation}\n")
        self.process.stdin.flush()
        fields = self.process.stdout.readline().split()
        return float(fields[0]), int(fields[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--kinds", nargs="+", default=["rosa", "window", "teacher"])
    parser.add_argument("--contexts", type=int, nargs="+", default=[16, 4096])
    options = parser.parse_args()
    rosa = Rosa(options.program, options.dtype, options.window, options.threads)
    reference = Transformers(options.dtype, options.threads)
    print(f"{options.dtype}, {options.threads} threads, window {options.window}, {options.tokens} tokens a round, "
          f"median of {options.rounds} rounds")
    print("| context | side | tokens/s | to transformers | bytes a token kept |")
    print("|---|---|---|---|---|")
    for context in options.contexts:
        sides = {"transformers": lambda: reference.run(context, options.tokens)}
        for kind in options.kinds:
            sides[kind] = lambda kind=kind: rosa.run(kind, context, options.tokens, "off")
        for run in sides.values():
            run()  # warms up, and reads the prompt
        seconds = {side: [] for side in sides}
        kept = {}
        for _ in range(options.rounds):
            for side, run in sides.items():
                took, kept[side] = run()
                seconds[side].append(took)
        for side in sides:
            ratio = statistics.median(t / own for t, own in zip(seconds["transformers"], seconds[side]))
            rate = options.tokens / statistics.median(seconds[side])
            print(f"| {context} | {side} | {rate:.2f} | {ratio:.2f} | {kept[side] / (context + options.tokens):.0f} |",
                  flush=True)


if __name__ == "__main__":
    main()
