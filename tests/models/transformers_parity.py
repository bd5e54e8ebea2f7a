"""Runs the Python of docs/python.md on models and adapters that rosa wrote: logits, generate(), and what it refuses.

Usage: transformers_parity.py WRITE_PARITY_CASE DOCS_PYTHON_MD
       transformers_parity.py --time DOCS_PYTHON_MD        seconds of the documented operator and of the bitwise one
Exit code 77: skipped, because torch, safetensors or transformers cannot be imported here.
"""
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The same rounding on both sides would be luck; a flipped bit or a wrong window is off by far more.
TOLERANCE = 1e-4
NEW_TOKENS = 24


def documented_lines(document):
    return "\n".join(re.findall(r"^```python\n(.*?)^```", Path(document).read_text(), re.S | re.M))


def compare(name, actual, expected):
    difference = (actual - expected).abs().max().item()
    print(f"{name}: logits differ by {difference:.2e}, largest {expected.abs().max().item():.2f}")
    return difference <= TOLERANCE


def check(name, holds):
    print(f"{name}: {'as it should be' if holds else 'WRONG'}")
    return holds


def bitwise_rosa(q, k, v):
    """The operator bit by bit and with all lengths at once: the oracle of the documented one."""
    import torch
    T = q.shape[2]
    same = (q.unsqueeze(3) == k.unsqueeze(2)).all(-1).tril(-1)
    length = torch.zeros(*q.shape[:2], T + 1, T + 1, dtype=torch.long)
    for t in range(T):
        length[:, :, t + 1, 1:] = (length[:, :, t, :-1] + 1) * same[:, :, t]
    at = ((length[:, :, 1:, 1:] * T + torch.arange(T)) * same).max(-1).indices
    at = (at + 1).clamp(max=T - 1)[..., None].expand(*at.shape, v.shape[-1])
    return v.gather(2, at) & same.any(-1, keepdim=True), same.any(-1, keepdim=True)


def random_bits(*shape, ones=0.5):
    import torch
    return torch.rand(shape) < ones


def operator_is_right(rosa):
    import torch
    torch.manual_seed(1)
    good = True
    for heads, length, query_bits, value_bits, ones in [(2, 1, 3, 3, 0.5), (3, 60, 1, 2, 0.5), (2, 80, 2, 8, 0.9),
                                                        (2, 60, 8, 1, 0.95), (1, 50, 63, 8, 0.998)]:
        q, k = random_bits(2, 2, heads, length, query_bits, ones=ones)
        v = random_bits(2, heads, length, value_bits)
        good &= all(torch.equal(a, b) for a, b in zip(rosa(q, k, v), bitwise_rosa(q, k, v)))
    return check("operator against the bitwise one", good)


def refuses(function, error, *words):
    """Whether the call raises this error, with a message that has the words."""
    try:
        function()
    except error as raised:
        return all(word in str(raised) for word in words)
    return False


def generates_as_it_says(name, student, input_ids):
    """generate() with its defaults gives what full forwards give, and a cache is refused whichever way it comes."""
    import torch
    import transformers
    settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    mask = torch.ones_like(input_ids)  # without it generate() takes the pad token's id for padding
    expected = input_ids
    for _ in range(NEW_TOKENS):
        expected = torch.cat([expected, student(expected).logits[:, -1:].argmax(-1)], 1)
    good = check(f"{name} generate()", torch.equal(student.generate(input_ids, attention_mask=mask, **settings), expected))
    cache = transformers.DynamicCache
    own = transformers.GenerationConfig(**settings, use_cache=True)
    for way, function in {
            "use_cache=True": lambda: student(input_ids, use_cache=True),
            "past_key_values": lambda: student(input_ids, past_key_values=cache()),
            "generate(use_cache=True)": lambda: student.generate(input_ids, attention_mask=mask, **settings, use_cache=True),
            "generate(past_key_values)": lambda: student.generate(input_ids, attention_mask=mask, **settings,
                                                                  past_key_values=cache()),
            "generate(GenerationConfig)": lambda: student.generate(input_ids, attention_mask=mask,
                                                                   generation_config=own)}.items():
        good &= check(f"{name} refuses {way}", refuses(function, ValueError, "use_cache=False"))
    return good


def refuses_what_it_cannot_do(name, student, input_ids, folder):
    import torch
    mask = torch.ones_like(input_ids)
    good = torch.equal(student(input_ids, attention_mask=mask).logits, student(input_ids).logits)
    mask[0, :3] = 0
    good &= check(f"{name} refuses padding on the left",
                  refuses(lambda: student(input_ids, attention_mask=mask), ValueError, "padding"))
    good &= check(f"{name} refuses save_pretrained",
                  refuses(lambda: student.save_pretrained(folder), NotImplementedError, "drop the ROSA adapters"))
    return good


def check_case(case, documented):
    import torch
    import transformers
    from safetensors import safe_open
    with safe_open(case / "expected.safetensors", "pt") as file:
        window = int(file.metadata()["window"])
        expected = {name: file.get_tensor(name) for name in file.keys()}
    student = documented["load_student"](str(case / "model"), str(case / "adapter.safetensors"), window)
    teacher = transformers.AutoModelForCausalLM.from_pretrained(str(case / "model"), dtype=torch.float32)
    ids = expected["input_ids"]
    good = compare(f"{case.name} student", student(ids).logits, expected["student_logits"])
    good &= compare(f"{case.name} teacher", teacher(ids).logits, expected["teacher_logits"])
    good &= generates_as_it_says(case.name, student, ids[:, :40])
    return refuses_what_it_cannot_do(case.name, student, ids, case / "saved") and good


def show_times(rosa):
    """16 heads of 8 bits, one thread, the best of three."""
    for length in (256, 1024):
        q, k, v = random_bits(3, 1, 16, length, 8)
        seconds = []
        for operator in (bitwise_rosa, rosa):
            started = []
            for _ in range(3):
                start = time.process_time()
                operator(q, k, v)
                started.append(time.process_time() - start)
            seconds.append(min(started))
        print(f"T {length}: bitwise {seconds[0]:.3f} s, documented {seconds[1]:.3f} s, {seconds[0] / seconds[1]:.1f} times")


def main(writer, document):
    try:
        import torch
        import transformers
        import safetensors  # noqa: F401
    except Exception as error:  # a torch without its libraries raises OSError
        print(f"SKIPPED: {sys.executable} cannot import transformers: {error}")
        return 77
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    torch.set_num_threads(1)
    documented = {}
    exec(compile(documented_lines(document), str(document), "exec"), documented)
    if writer == "--time":
        show_times(documented["rosa"])
        return 0
    good = operator_is_right(documented["rosa"])
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        subprocess.run([writer, folder], check=True)
        for case in sorted(Path(folder).iterdir()):
            good &= check_case(case, documented)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
