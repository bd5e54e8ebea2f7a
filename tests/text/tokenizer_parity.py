#!/usr/bin/env python3
"""Tokenizers against PyPI's `tokenizers` on seeded lines of mixed scripts: ids and decoded text, equal for each line.

Usage: tokenizer_parity.py TOKENIZER_TEST LINES TOKENIZER.json...

TOKENIZER_TEST is the program tests/text/tokenizer_test; LINES are made for each tokenizer. Exit code 77 (skipped)
where Python has no `tokenizers`.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

CHUNK = 50_000
WORDS = ("the of to and internationalization HTTPServer he'll don't I'VE 'S 'll x=y; for(i=0;i<n;++i) return // {} "
         "[[]] => != naïve Ångström ſ \u212aelvin Привет мир שלום مرحبا 世界 你好 こんにちは 안녕하세요 สวัสดี नमस्ते "
         "ﬁ ½ ² Ⅷ ٣٤ १२ 12345 0x1F 3.14 1,000 ’s “q” … — \u200b \u200d \ufeff \u180e \u2028 \x85 \xa0 \x1f \x00").split(" ")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|im_start", "im_end|>", "<|begin_of_text|>",
           "<|", "|>", "[MASK]", "<tool_call>"]
EMOJI = ["😀", "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "👍🏽", "🇩🇪"]
SPACE = [" ", "  ", "\t", "\n", "\r\n", "\n\n", "\r", "\x0b", "\x0c", "\u3000", "\u2003", " \n", "    "]
# Letters, marks and signs of many blocks. Beyond: any character at all.
BLOCKS = [(0x20, 0x7e), (0xa0, 0x24f), (0x250, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0xdff), (0xe00, 0xfff),
          (0x1100, 0x11ff), (0x1e00, 0x1fff), (0x2000, 0x2bff), (0x3040, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3),
          (0xf900, 0xfaff), (0xfb00, 0xfdff), (0x1d400, 0x1d7ff), (0x1f300, 0x1faff), (0x20000, 0x2a6df), (0x2ebf0, 0x323af), (0x10000, 0x1ffff), (0, 0x10ffff)]


def character(rng):
    while True:
        c = chr(rng.randint(*rng.choice(BLOCKS)))
        if not 0xd800 <= ord(c) <= 0xdfff:
            return c


def line(rng, extra):
    kind = rng.random()
    if kind < 0.02:
        return rng.choice(["a", "😀", "\n", "[]", " ", "0", "'s", "世"]) * rng.randint(1, 300)
    parts = []
    for _ in range(rng.randint(0, 24)):
        parts.append(rng.choices([lambda: rng.choice(WORDS), lambda: rng.choice(SPACE), lambda: character(rng),
                                  lambda: "".join(character(rng) for _ in range(rng.randint(1, 6))),
                                  lambda: rng.choice(EMOJI), lambda: rng.choice(SPECIAL + extra),
                                  lambda: str(rng.randint(0, 10 ** rng.randint(1, 18)))],
                                 weights=[8, 8, 3, 2, 1, 1, 1])[0]())
    return "".join(parts)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        print(f"skipped: {error}")
        sys.exit(77)
    program, num_lines, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    for number, file in enumerate(files):
        reference = Tokenizer.from_file(file)
        extra = [token.content for token in reference.get_added_tokens_decoder().values()]
        for begin in range(0, num_lines, CHUNK):
            rng = random.Random(f"{number} {begin}")
            lines = [line(rng, extra) for _ in range(min(CHUNK, num_lines - begin))]
            with tempfile.TemporaryDirectory() as folder:
                os.mkdir(os.path.join(folder, "made"))
                os.symlink(os.path.abspath(file), os.path.join(folder, "made", "tokenizer.json"))
                with open(os.path.join(folder, "made", "cases.jsonl"), "w", encoding="utf-8") as cases:
                    for text, encoding in zip(lines, reference.encode_batch(lines)):
                        decoded = reference.decode(encoding.ids, skip_special_tokens=False)
                        json.dump({"text": text, "ids": encoding.ids, "decoded": decoded}, cases)
                        cases.write("\n")
                result = subprocess.run([program, "--gtest_filter=*ReferenceCases*"], capture_output=True, text=True,
                                        env={**os.environ, "ROSA_TOKENIZER_CASES": folder})
            if result.returncode != 0:
                print(result.stdout[-8000:])
                sys.exit(f"{file}: differs from `tokenizers` (lines {begin} to {begin + len(lines)})")
        print(f"{file}: {num_lines} lines equal")


if __name__ == "__main__":
    main()
