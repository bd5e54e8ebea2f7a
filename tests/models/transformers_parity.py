"""Runs the Python of docs/python.md on models and adapters that rosa wrote, and compares the logits.

Usage: transformers_parity.py WRITE_PARITY_CASE DOCS_PYTHON_MD
Exit code 77: skipped, because torch, safetensors or transformers cannot be imported here.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# The same rounding on both sides would be luck; a flipped bit or a wrong window is off by far more.
TOLERANCE = 1e-4


def documented_lines(document):
    return "\n".join(re.findall(r"^```python\n(.*?)^```", Path(document).read_text(), re.S | re.M))


def compare(name, actual, expected):
    difference = (actual - expected).abs().max().item()
    print(f"{name}: logits differ by {difference:.2e}, largest {expected.abs().max().item():.2f}")
    return difference <= TOLERANCE


def main(writer, document):
    try:
        import torch
        import transformers
        from safetensors import safe_open
    except Exception as error:  # a torch without its libraries raises OSError
        print(f"SKIPPED: {sys.executable} cannot import transformers: {error}")
        return 77
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    torch.set_num_threads(1)
    documented = {}
    exec(compile(documented_lines(document), str(document), "exec"), documented)
    good = True
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        subprocess.run([writer, folder], check=True)
        for case in sorted(Path(folder).iterdir()):
            with safe_open(case / "expected.safetensors", "pt") as file:
                window = int(file.metadata()["window"])
                expected = {name: file.get_tensor(name) for name in file.keys()}
            student = documented["load_student"](str(case / "model"), str(case / "adapter.safetensors"), window)
            teacher = transformers.AutoModelForCausalLM.from_pretrained(str(case / "model"), dtype=torch.float32)
            ids = expected["input_ids"]
            good &= compare(f"{case.name} student", student(ids).logits, expected["student_logits"])
            good &= compare(f"{case.name} teacher", teacher(ids).logits, expected["teacher_logits"])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
