"""Prefill and generation of the exported Python model beside the plain Qwen3, on the CPU, in one process and one run.

Usage: python_bench.py [--length 2048] [--layers 28] [--repeats 3] [--threads N] [--new-tokens 32]
Shapes of Qwen3-0.6B, random weights; adapters of 128 heads of 8 bits in every layer, window 128. ROSA_C_LIBRARY names librosa_c.
"""
import argparse
import sys
import time
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models" / "python"))
from configuration_qwen3_rosa import Qwen3RosaConfig  # noqa: E402
from modeling_qwen3_rosa import Library, Qwen3RosaForCausalLM  # noqa: E402


def make_models(layers):
    shapes = dict(vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=layers, num_attention_heads=16,
                  num_key_value_heads=8, head_dim=128, max_position_embeddings=40960, tie_word_embeddings=True,
                  rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"})
    torch.manual_seed(1)
    plain = Qwen3ForCausalLM(Qwen3Config(**shapes)).eval()
    rosa = Qwen3RosaForCausalLM(Qwen3RosaConfig(**shapes, sliding_window=128, rosa_num_heads=128,
                                                rosa_num_key_value_heads=128)).eval()
    for layer in rosa.model.layers:  # as a run starts: queries and keys that can match
        layer.self_attn.rosa_attn.k_proj.weight.copy_(layer.self_attn.rosa_attn.q_proj.weight)
    return {"plain": plain, "rosa": rosa}


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("length", 2048), ("layers", 28), ("repeats", 3), ("threads", torch.get_num_threads()), ("new-tokens", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    models = make_models(options.layers)
    ids = torch.randint(0, 151936, (1, options.length))
    mask = torch.ones_like(ids)
    print(f"torch {torch.__version__}, {options.threads} threads, T = {options.length}, {options.layers} layers, "
          f"librosa_c {'found' if Library.find(None) else 'not found'}")
    ways = {
        "prefill with cache": lambda model: model(ids, use_cache=True, logits_to_keep=1),
        f"{options.new_tokens} tokens": lambda model: model.generate(
            ids, attention_mask=mask, min_new_tokens=options.new_tokens, max_new_tokens=options.new_tokens, do_sample=False,
            eos_token_id=None, pad_token_id=0),
    }
    for way, function in ways.items():
        times = {name: [] for name in models}
        for _ in range(options.repeats):  # by turns, so that what else the machine does hits both
            for name, model in models.items():
                times[name].append(seconds(lambda: function(model)))
        best = {name: min(each) for name, each in times.items()}
        print(f"{way}: plain {best['plain']:.2f} s, rosa {best['rosa']:.2f} s, ratio {best['rosa'] / best['plain']:.2f}")


if __name__ == "__main__":
    main()
