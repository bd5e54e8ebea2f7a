#!/usr/bin/env python3
"""Makes Qwen3's tokenizer.json from the vocabulary in PyPI's wheel dashscope (qwen.tiktoken, Apache 2.0).

Usage: qwen3_tokenizer.py FILE.json [--ranks qwen.tiktoken]

Without --ranks the wheel is downloaded by pip. A file that is there already is left as it is. The merges follow from
the ranks: a token was made by joining the two parts into which the tokens before it cut it.
"""
import argparse
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile

WHEEL = "dashscope==2.0.2"
RANKS = "dashscope/resources/qwen.tiktoken"
RANKS_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
EXPRESSION = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
              r"|\s*[\r\n]+|\s+(?!\S)|\s+")
# Behind the vocabulary, in this order (tokenizer_config.json of Qwen3-0.6B).
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
           "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
           "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
ORDINARY = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
            "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"]


def byte_characters():
    """The printable character of each byte, as GPT-2 has them."""
    own = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {**{byte: chr(byte) for byte in own}, **{byte: chr(0x100 + i) for i, byte in enumerate(others)}}


def downloaded_ranks():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check",
                        "-d", folder, WHEEL], check=True)
        (wheel,) = os.listdir(folder)
        with zipfile.ZipFile(os.path.join(folder, wheel)) as archive:
            return archive.read(RANKS)


def parts_of(token, ranks):
    """The two parts that the merges before `token` leave of it."""
    parts = [token[i:i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(parts[i] + parts[i + 1], len(ranks)) for i in range(len(parts) - 1)]
        at = pairs.index(min(pairs))
        if pairs[at] >= ranks[token]:
            sys.exit(f"qwen3_tokenizer.py: token {ranks[token]} is not made of two tokens before it")
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return parts


def tokenizer(text):
    ranks = {}
    for line in text.splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    characters = byte_characters()
    written = {token: "".join(characters[byte] for byte in token) for token in ranks}
    merges = [[written[part] for part in parts_of(token, ranks)] for token in ranks if len(token) > 1]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [{"id": len(ranks) + i, "content": content, **flags, "special": i < len(SPECIAL)}
             for i, content in enumerate(SPECIAL + ORDINARY)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": EXPRESSION}, "behavior": "Isolated", "invert": False}, byte_level]},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {written[token]: rank for token, rank in ranks.items()}, "merges": merges}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE.json")
    parser.add_argument("--ranks", help="qwen.tiktoken, where it is there already")
    options = parser.parse_args()
    if os.path.exists(options.file):
        return
    text = open(options.ranks, "rb").read() if options.ranks else downloaded_ranks()
    found = hashlib.sha256(text).hexdigest()
    if found != RANKS_SHA256:
        sys.exit(f"qwen3_tokenizer.py: the ranks have the SHA-256 {found}, expected {RANKS_SHA256}: another vocabulary")
    partial = options.file + ".partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(tokenizer(text), file, ensure_ascii=False)
    os.replace(partial, options.file)


if __name__ == "__main__":
    main()
