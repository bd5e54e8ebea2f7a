"""Exported students in Hugging Face transformers, against what rosa says: logits, generation, padding, beams, caches, refusals.

Usage: transformers_parity.py WRITE_PARITY_CASE LIBROSA_C
Exit code 77: skipped, because torch, safetensors or transformers cannot be imported here.
"""
import copy
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

# The same rounding on both sides would be luck; a flipped bit or a wrong window is off by far more.
TOLERANCE = 2e-5
NEW_TOKENS = 24
PROMPT = 40
failures = []


def check(name, holds):
    print(f"{name}: {'as it should be' if holds else 'WRONG'}", flush=True)
    if not holds:
        failures.append(name)


def compare(name, actual, expected):
    difference = (actual - expected).abs().max().item()
    print(f"{name}: logits differ by {difference:.2e}, largest {expected.abs().max().item():.2f}", flush=True)
    if not difference <= TOLERANCE:
        failures.append(name)


def refuses(name, function, error, *words):
    try:
        function()
    except error as raised:
        check(f"{name}: refused", all(word in str(raised) for word in words))
        return
    check(f"{name}: refused", False)


def settings(**more):
    return {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, **more}


def padded(ids, counts):
    """The rows with so many tokens of padding before them, cut to one length; and the mask."""
    import torch
    rows = torch.zeros(len(counts), ids.shape[1] + max(counts), dtype=torch.long)
    mask = torch.zeros_like(rows)
    for row, count in enumerate(counts):
        kept = rows.shape[1] - count
        rows[row, count:count + min(kept, ids.shape[1])] = ids[row, :kept]
        mask[row, count:] = 1
    return rows[:, :ids.shape[1]], mask[:, :ids.shape[1]]


def check_forwards(name, model, ids, expected):
    import torch
    for use_cache in (False, True):
        compare(f"{name}, use_cache={use_cache}", model(ids, use_cache=use_cache).logits, expected)
        rows, mask = padded(ids, [13, 5])
        logits = model(rows, attention_mask=mask, use_cache=use_cache).logits
        for row, count in enumerate((13, 5)):
            compare(f"{name}, row {row} behind padding, use_cache={use_cache}", logits[row, count:],
                    expected[row, :ids.shape[1] - count])
    cache, pieces = None, []
    for first, last in ((0, 40), (40, 41), (41, 80), (80, 90)):
        result = model(ids[:, first:last], past_key_values=cache, use_cache=True)
        cache = result.past_key_values
        pieces.append(result.logits)
    compare(f"{name}, piece by piece", torch.cat(pieces, 1), expected)


def check_generation(name, model, ids, continued):
    import torch
    prompt = ids[:, :PROMPT]
    ones = torch.ones_like(prompt)
    generate = lambda **more: model.generate(prompt, attention_mask=ones, **settings(max_new_tokens=NEW_TOKENS, **more))
    check(f"{name}: generate() says what rosa says", torch.equal(generate(), continued))
    check(f"{name}: and without a cache", torch.equal(generate(use_cache=False), continued))
    check(f"{name}: beams with a cache and without",
          torch.equal(generate(num_beams=3), generate(num_beams=3, use_cache=False)))
    # A batch of prompts of different lengths is each of them alone.
    rows, mask = padded(prompt, [11, 2])
    together = model.generate(rows, attention_mask=mask, **settings(max_new_tokens=NEW_TOKENS))[:, PROMPT:]
    for row, count in enumerate((11, 2)):
        alone = prompt[row:row + 1, :PROMPT - count]
        alone = model.generate(alone, attention_mask=torch.ones_like(alone), **settings(max_new_tokens=NEW_TOKENS))
        check(f"{name}: padded row {row} is generated as alone", torch.equal(together[row], alone[0, PROMPT - count:]))
    check(f"{name}: tokens drafted from the prompt change nothing", torch.equal(model.generate(
        prompt[:1], attention_mask=ones[:1], **settings(max_new_tokens=NEW_TOKENS, prompt_lookup_num_tokens=4)), continued[:1]))


def check_cache(name, model, ids, expected):
    import torch
    from transformers import DynamicCache, StaticCache
    cache = DynamicCache()
    cache.activate_past_recording()
    model(ids[:, :50], past_key_values=cache, use_cache=True)
    cache.activate_past_recording()
    for which, copied in (("deep copy", copy.deepcopy(cache)), ("cache", cache)):
        model(ids[:, 10:17], past_key_values=copied, use_cache=True)
        copied.crop(-7)
        compare(f"{name}, {which} after a crop", model(ids[:, 50:], past_key_values=copied).logits, expected[:, 50:])
    cache = model(ids[:, :50], use_cache=True).past_key_values
    cache.batch_repeat_interleave(2)
    cache.batch_select_indices(torch.tensor([2, 0]))
    compare(f"{name}, repeated and selected rows", model(ids[[1, 0], 50:], past_key_values=cache).logits,
            expected[[1, 0], 50:])
    stream = model(ids[:, :50], use_cache=True).past_key_values.layers[0].streams[0]
    check(f"{name}: a stream can be pickled", pickle.loads(pickle.dumps(stream)) is not None)
    foreign = DynamicCache()
    foreign.update(torch.zeros(2, 2, 3, 4), torch.zeros(2, 2, 3, 4), 0)
    refuses(f"{name}: a cache of another model", lambda: model(ids, past_key_values=foreign), ValueError, "another model")
    static = StaticCache(config=model.config, max_cache_len=128)
    refuses(f"{name}: a static cache", lambda: model(ids, past_key_values=static), ValueError, "StaticCache", "DynamicCache")
    refuses(f"{name}: a mask of pairs", lambda: model(ids, attention_mask=torch.ones(2, 1, 90, 90)), ValueError, "two dimensions")
    refuses(f"{name}: a short mask", lambda: model(ids, attention_mask=torch.ones(2, 89)), ValueError, "expected [2, 90]")
    refuses(f"{name}: attentions", lambda: model(ids, output_attentions=True), ValueError, "output_attentions")


def check_streams(name, module, library):
    """Random symbols with holes, rewinds and selections: the library's stream and PyTorch's give the same."""
    import torch
    torch.manual_seed(3)
    good = True
    for bits, heads, kv_heads in ((1, 2, 1), (2, 4, 2), (8, 1, 1)):
        streams = [module.LibraryStream(library, 2, heads, kv_heads), module.TorchStream(2, heads, kv_heads)]
        for step in range(12):
            count = int(torch.randint(1, 9, ()))
            query = torch.randint(0, 2**bits, (2, heads, count))
            key, value = torch.randint(0, 2**bits, (2, kv_heads, count)), torch.randint(0, 2**62, (2, kv_heads, count))
            present = torch.rand(2, count) > 0.2 if step % 2 else None
            mean_bits = 60 * (step % 2)
            results = [stream.append(query, key, value, present, mean_bits) for stream in streams]
            good &= torch.allclose(results[0][0], results[1][0]) if mean_bits else torch.equal(results[0][0], results[1][0])
            good &= torch.equal(results[0][1].long(), results[1][1].long())
            if step % 3 == 2:
                for stream in streams:
                    stream.rewind(torch.tensor([2, 1]))
            if step % 5 == 4:
                streams = [stream.select(torch.tensor([1, 0])) for stream in streams]
    check(f"{name}: both kinds of streams", good)


def check_case(case, library):
    import torch
    import transformers
    from safetensors.torch import load_file
    expected = load_file(case / "expected.safetensors")
    ids, logits = expected["input_ids"], expected["student_logits"]
    teacher = transformers.AutoModelForCausalLM.from_pretrained(str(case / "base"), dtype=torch.float32)
    compare(f"{case.name} teacher", teacher(ids).logits, expected["teacher_logits"])
    for backend in ("none", library):
        os.environ["ROSA_C_LIBRARY"] = backend
        name = f"{case.name} {'PyTorch' if backend == 'none' else 'librosa_c'}"
        model = transformers.AutoModelForCausalLM.from_pretrained(str(case / "model"), trust_remote_code=True, dtype=torch.float32)
        module = sys.modules[type(model).__module__]
        check(f"{name}: is what was asked for", (module.Library.find(None) is None) == (backend == "none"))
        check_forwards(name, model, ids, logits)
        check_generation(name, model, ids, expected["continued"])
        check_cache(name, model, ids, logits)
        if backend != "none":
            check_streams(name, module, module.Library.find(None))
    saved = case / "saved"
    model.save_pretrained(saved)
    again = transformers.AutoModelForCausalLM.from_pretrained(str(saved), trust_remote_code=True, dtype=torch.float32)
    check(f"{case.name}: saved and loaded", torch.equal(again(ids).logits, model(ids).logits))
    half = transformers.AutoModelForCausalLM.from_pretrained(str(case / "model"), trust_remote_code=True, dtype=torch.bfloat16)
    check(f"{case.name}: adapters stay float32 beside bfloat16",
          all((p.dtype == torch.float32) == (".rosa_attn." in n) for n, p in half.named_parameters()))
    sys.path.insert(0, str(case / "adapter"))
    family = model.config.model_type.removesuffix("_rosa")
    check(f"{case.name}: the base's family", family == teacher.config.model_type)
    for part in ("configuration", "modeling"):  # of the case before
        sys.modules.pop(f"{part}_{family}_rosa", None)
    loader = importlib.import_module(f"modeling_{family}_rosa")
    compare(f"{case.name} adapter on its base", loader.load_adapter(case / "adapter", dtype=torch.float32)(ids).logits, logits)
    with torch.enable_grad():
        again.train()(ids, labels=ids).loss.backward()
    check(f"{case.name}: what adapters add has a gradient", all(
        layer.self_attn.rosa_attn.o_proj.weight.grad is not None for layer in again.model.layers if layer.self_attn.rosa_attn))
    check(f"{case.name}: so have gates", all(
        parameter.grad is not None for name, parameter in again.named_parameters() if ".rosa_attn.g_" in name or ".u_" in name))


# What transformers makes, read by rosa: each family, tied and not, in one file and in several, every rotation.
FAMILIES = {
    "qwen3 default": ("Qwen3", {"tie_word_embeddings": True}, {"rope_type": "default"}),
    "qwen3 yarn": ("Qwen3", {}, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}),
    "qwen3 yarn with its keys": ("Qwen3", {}, {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 24,
                                               "beta_fast": 16.0, "beta_slow": 2.0, "mscale": 1.2, "mscale_all_dim": 0.7,
                                               "truncate": False}),
    "qwen3 yarn with a factor": ("Qwen3", {}, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
                                               "attention_factor": 0.8}),
    "qwen2 default": ("Qwen2", {"tie_word_embeddings": True}, {"rope_type": "default"}),
    "qwen2 dynamic": ("Qwen2", {}, {"rope_type": "dynamic", "factor": 2.0}),
    "llama default": ("Llama", {"tie_word_embeddings": True, "head_dim": 20}, {"rope_type": "default"}),
    "llama linear": ("Llama", {"num_key_value_heads": None}, {"rope_type": "linear", "factor": 2.5}),
    "llama llama3": ("Llama", {"rms_norm_eps": 1e-5}, {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                                       "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
}


def check_family(name, folder, writer):
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
    prefix, own, rope = FAMILIES[name]
    torch.manual_seed(len(name))
    theta = 500000.0 if prefix == "Llama" else 10000.0
    config = getattr(transformers, f"{prefix}Config")(**{
        "vocab_size": 67, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 48, "initializer_range": 0.2, "eos_token_id": None,
        "bos_token_id": None, "tie_word_embeddings": False, "rope_parameters": {"rope_theta": theta, **rope}, **own,
        **({"head_dim": 16} if prefix == "Qwen3" else {})})
    model = getattr(transformers, f"{prefix}ForCausalLM")(config).float()
    for parameter in model.parameters():
        if parameter.dim() == 1:  # norms and biases start at ones and zeros
            parameter.add_(0.2 * torch.randn_like(parameter))
    in_bfloat16 = "default" in name  # weights that are widened
    (copy.deepcopy(model).bfloat16() if in_bfloat16 else model).save_pretrained(folder, max_shard_size="5GB" if in_bfloat16 else "40KB")
    model = type(model).from_pretrained(folder, dtype=torch.float32)
    ids = torch.randint(0, 67, (2, 72))
    save_file({"input_ids": ids}, folder / "input.safetensors")
    subprocess.run([writer, "read", folder], check=True)
    ours = load_file(folder / "ours.safetensors")
    with torch.enable_grad():
        result = model.train()(ids, labels=ids)
        result.loss.backward()
    model.eval()
    compare(f"{name}: logits", result.logits, ours["logits"])
    compare(f"{name}: loss", result.loss, ours["loss"])
    gradients = {f"grad.{key}": value.grad for key, value in model.named_parameters()}
    check(f"{name}: names", set(gradients) == {key for key in ours if key.startswith("grad.")})
    worst = max((gradients[key] - ours[key]).abs().max().item() / gradients[key].abs().max().item() for key in gradients)
    check(f"{name}: gradients within {worst:.1e} of the largest", worst < 2e-5)
    prompt = ids[:, :40]
    continued = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, do_sample=False, pad_token_id=0)
    check(f"{name}: greedy continuation with a cache", torch.equal(continued, ours["continued"]))


def main(writer, library):
    try:
        import torch
        import transformers
        import safetensors  # noqa: F401
    except Exception as error:  # a torch without its libraries raises OSError
        print(f"SKIPPED: {sys.executable} cannot import transformers: {error}")
        return 77
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        os.environ["HF_HOME"] = folder  # where remote code is copied to
        subprocess.run([writer, folder + "/cases"], check=True)
        for case in sorted(Path(folder, "cases").iterdir()):
            check_case(case, library)
        for number, name in enumerate(FAMILIES):
            target = Path(folder, f"family{number}")
            target.mkdir()
            check_family(name, target, writer)
    print("all as it should be" if not failures else f"WRONG: {failures}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
