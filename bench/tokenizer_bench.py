#!/usr/bin/env python3
"""MB/s of our tokenizer and of PyPI's `tokenizers`, in turns, on the same documents.

  tokenizer_bench.py build/bench/tokenizer_bench TOKENIZER.json [--megabytes 50] [--threads 2] [--rounds 3]

English, code (this repository's), and CJK in equal parts, documents of about 4 KB; and 1 MB each of hostile text, a
single document. Needs PyPI's `tokenizers`. The median of the rounds counts.
"""
import argparse
import glob
import json
import os
import random
import statistics
import subprocess
import tempfile
import time

HOSTILE = {"one letter": "a", "one emoji": "😀", "newlines": "\n", "spaces": " ", "brackets": "[]", "digits": "0"}
DOCUMENT_BYTES = 4096


def corpora(root, megabytes):
    rng = random.Random(1)
    size = int(megabytes * 1e6 / 3)
    prose = open(os.path.join(root, "demo/text/prose_train.txt"), encoding="utf-8").read()
    code = "".join(open(path, encoding="utf-8").read() for path in sorted(glob.glob(root + "/**/*.cpp", recursive=True)))
    # Frequent characters more often, as in text.
    common = [chr(0x4e00 + int(rng.paretovariate(0.6) * 7) % 0x5000) for _ in range(20000)]
    cjk = "".join(rng.choice(common) if rng.random() < 0.93 else rng.choice("，。、？的一是不\n") for _ in range(size // 3))
    return {name: documents((text * (size // len(text.encode()) + 1)).encode()[:size].decode(errors="ignore"))
            for name, text in [("English", prose), ("code", code), ("CJK", cjk)]}


def documents(text):
    step = DOCUMENT_BYTES * len(text) // len(text.encode())
    return [text[i:i + step] for i in range(0, len(text), step)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("tokenizer")
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    from tokenizers import Tokenizer
    reference = Tokenizer.from_file(options.tokenizer)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    texts = corpora(root, options.megabytes)
    ours = subprocess.Popen([options.program, options.tokenizer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def time_ours(threads, file):
        ours.stdin.write(f"{threads} {file}\n")
        ours.stdin.flush()
        seconds, num_bytes, num_tokens = ours.stdout.readline().split()
        return float(seconds), int(num_bytes), int(num_tokens)

    def time_reference(threads, lines):
        start = time.perf_counter()
        if threads > 0:
            encoded = reference.encode_batch(lines)
        else:
            encoded = [reference.encode(line) for line in lines]
        return time.perf_counter() - start, sum(len(one) for one in encoded)

    print("| text | threads | rosa MB/s | tokenizers MB/s | ratio |\n|---|---|---|---|---|")
    prose_seconds_a_byte = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in texts.items():
            file = os.path.join(folder, name + ".jsonl")
            with open(file, "w", encoding="utf-8") as output:
                output.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            for threads in (0, options.threads):
                times, reference_times = [], []
                for _ in range(options.rounds):
                    seconds, num_bytes, num_tokens = time_ours(threads, file)
                    reference_seconds, reference_tokens = time_reference(threads, lines)
                    assert num_tokens == reference_tokens, (name, num_tokens, reference_tokens)
                    times.append(seconds)
                    reference_times.append(reference_seconds)
                a, b = statistics.median(times), statistics.median(reference_times)
                print(f"| {name} | {threads or '1, one by one'} | {num_bytes / 1e6 / a:.1f} | {num_bytes / 1e6 / b:.1f} | {b / a:.1f} |",
                      flush=True)
                if name == "English" and threads == 0:
                    prose_seconds_a_byte = a / num_bytes
        print("\n| hostile text, 1 MB | time a byte, English = 1 |\n|---|---|")
        for name, text in HOSTILE.items():
            file = os.path.join(folder, "hostile.jsonl")
            with open(file, "w", encoding="utf-8") as output:
                output.write(json.dumps(text * (1_000_000 // len(text.encode())), ensure_ascii=False) + "\n")
            times = []
            for _ in range(options.rounds):
                seconds, num_bytes, _ = time_ours(0, file)
                times.append(seconds)
            print(f"| {name} | {statistics.median(times) / num_bytes / prose_seconds_a_byte:.2f} |", flush=True)


if __name__ == "__main__":
    main()
