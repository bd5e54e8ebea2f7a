#!/usr/bin/env python3
"""Writes a Hugging Face folder with random bfloat16 weights in the shapes of Qwen3-0.6B (1.2 GB), without torch.

    bench/random_model.py FOLDER [--layers 28]

Time and memory do not depend on the weights; what the model says means nothing.
"""
import argparse
import json
import pathlib
import random
import struct

HIDDEN, INNER, VOCABULARY, HEADS, KEY_HEADS, HEAD_DIM = 1024, 3072, 151936, 16, 8, 128
PIECE = 1 << 22  # numbers that are made at one time


def shapes(num_layers):
    yield "model.embed_tokens.weight", [VOCABULARY, HIDDEN]
    for layer in range(num_layers):
        name = f"model.layers.{layer}."
        yield name + "input_layernorm.weight", [HIDDEN]
        yield name + "mlp.down_proj.weight", [HIDDEN, INNER]
        yield name + "mlp.gate_proj.weight", [INNER, HIDDEN]
        yield name + "mlp.up_proj.weight", [INNER, HIDDEN]
        yield name + "post_attention_layernorm.weight", [HIDDEN]
        yield name + "self_attn.k_norm.weight", [HEAD_DIM]
        yield name + "self_attn.k_proj.weight", [KEY_HEADS * HEAD_DIM, HIDDEN]
        yield name + "self_attn.o_proj.weight", [HIDDEN, HEADS * HEAD_DIM]
        yield name + "self_attn.q_norm.weight", [HEAD_DIM]
        yield name + "self_attn.q_proj.weight", [HEADS * HEAD_DIM, HIDDEN]
        yield name + "self_attn.v_proj.weight", [KEY_HEADS * HEAD_DIM, HIDDEN]
    yield "model.norm.weight", [HIDDEN]


def numbers(shape, generator):
    """bfloat16 in pieces: 1 for a norm; else either sign and 2^-7 to 2^-5, about the size that training gives."""
    count = 1
    for size in shape:
        count *= size
    if len(shape) == 1:
        yield struct.pack("<H", 0x3F80) * count
        return
    while count > 0:
        piece = min(count, PIECE)
        ones = int.from_bytes(struct.pack("<H", 0x80FF) * piece, "little")
        base = int.from_bytes(struct.pack("<H", 0x3C00) * piece, "little")
        yield ((generator.getrandbits(16 * piece) & ones) | base).to_bytes(2 * piece, "little")
        count -= piece


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--layers", type=int, default=28)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": VOCABULARY,
              "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": arguments.layers,
              "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "head_dim": HEAD_DIM,
              "hidden_act": "silu", "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "rope_theta": 1000000,
              "tie_word_embeddings": True, "torch_dtype": "bfloat16"}
    (arguments.folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    header, offset = {}, 0
    for name, shape in shapes(arguments.layers):
        count = 1
        for size in shape:
            count *= size
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + 2 * count]}
        offset += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = random.Random(1)
    with open(arguments.folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in shapes(arguments.layers):
            for piece in numbers(shape, generator):
                file.write(piece)


if __name__ == "__main__":
    main()
