#!/usr/bin/env python3
"""Comments and pages name only what is there: files, links and headings of pages, keys, subcommands.

Usage: docs_test.py [FOLDER]: the checkout, by default the one that holds this file.
"""
import fnmatch
import os
import re
import sys
from pathlib import Path

CODE = (".h", ".cpp", ".cu", ".inc", ".in")
SCRIPTS = (".sh", ".py", ".cmake", ".txt", ".yaml", ".sbatch", "run")
# What the project's own files end with. Names of data (config.json, metrics.jsonl) are mostly files of a run.
NAMED = r"(?:h|cpp|cu|inc|md|sh|py|cmake|sbatch)"
FILE_NAME = re.compile(rf"(?<![\w.:$])(?:[\w{{}},*-]+/)*[\w{{}},*-]*[\w}}*]\.{NAMED}\b(?![\w/(]|\.\w)")
# Examples of what a reader would write, and files of other projects and of the system.
ELSEWHERE = {"collectives/gather.cpp", "tcp_communicator.h", "rosa/estimators/reinforce.cpp", "rosa-fast-grad-test1.py",
             "mpi.h", "build/long_tests.md", "tracker.py"}
# FILE.in is where CMake gets FILE from.


def checkout_files(root):
    for folder, folders, names in os.walk(root):
        at_top = Path(folder) == root
        folders[:] = [name for name in folders if not name.startswith((".git", "build")) and
                      not (at_top and name in ("runs", ".cache"))]
        for name in names:
            yield (Path(folder) / name).relative_to(root).as_posix()


def comment_lines(path, text):
    """(line number, text) of every comment; a page is all comment, but for what it quotes of a program's output."""
    if path.endswith(".md"):
        yield from enumerate(text.split("\n"), 1)
        return
    mark = r"(?<!:)//(.*)" if path.endswith(CODE) else r"(?:^|\s)#(.*)"
    for number, line in enumerate(text.split("\n"), 1):
        comment = re.search(mark, line)
        if comment:
            yield number, comment.group(1)


def code_of(path, text):
    """The text without comments; nothing of a page."""
    return "" if path.endswith(".md") else re.sub(r"(?<!:)//.*" if path.endswith(CODE) else r"(?m)(?:^|\s)#.*", "", text)


def keys_of(reference):
    """Sections and keys of a page that `rosa config reference` wrote."""
    keys, section = set(), ""
    for line in reference.split("\n"):
        if line.startswith("## "):
            section = line[3:].strip() + "."
            keys.add(section[:-1])
        elif key := re.match(r"\| `([a-z0-9_]+)` \|", line):
            keys.add(section + key.group(1))
    return keys


def alternatives(name):
    """a_{x,y}.h is a_x.h and a_y.h."""
    braces = re.search(r"\{([^{}]*)\}", name)
    if not braces:
        return [name]
    return [one for word in braces.group(1).split(",")
            for one in alternatives(name[:braces.start()] + word + name[braces.end():])]


class Checkout:
    def __init__(self, root):
        self.root = root
        self.files = sorted(checkout_files(root))
        self.read = [path for path in self.files if path.endswith(CODE + SCRIPTS + (".md",)) and
                     not path.startswith(("tests/data/", "bench/results/", "demo/"))]
        self.text = {path: (root / path).read_text(errors="replace") for path in self.read}
        self.words = {word for path in self.read for word in re.findall(r"\w+", code_of(path, self.text[path]))}
        self.keys = keys_of(self.text["docs/configuration.md"]) | keys_of(self.text["docs/experiment_configuration.md"])
        self.faults = []

    def fault(self, path, number, text):
        self.faults.append(f"{path}:{number}: {text}")

    def has_file(self, name):
        return any(fnmatch.fnmatch("/" + path, "*/" + form) for path in self.files for form in (name, name + ".in"))

    def check_names(self, path, number, line):
        for name in (one for match in FILE_NAME.finditer(line) for one in alternatives(match.group())):
            is_placeholder = re.search(r"(NAME|DATE)", name)
            if name not in ELSEWHERE and not is_placeholder and not self.has_file(name):
                self.fault(path, number, f"there is no file {name}")
        for function in re.findall(r"\b([a-z]\w*)\(\)", line):
            if function not in self.words:
                self.fault(path, number, f"there is no function {function}()")
        for page in re.findall(r"\b([A-Z]{3,}) section \d|\bsection \d+ of ([A-Z]{3,})", line):
            self.fault(path, number, f"there is no page {page[0] or page[1]}")

    def check_keys(self, path, number, line):
        """What stands in backticks and looks like a key of a configuration is one."""
        for key in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*|: [^`]*)?`", line):
            is_file = key.endswith((".json", ".jsonl", ".yaml", ".safetensors"))
            if not is_file and key.partition(".")[0] in self.keys and key not in self.keys:
                self.fault(path, number, f"there is no key {key}")

    def check_links(self, path, number, line):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, heading = target.partition("#")
            linked = (self.root / path).parent / file if file else self.root / path
            if not linked.exists():
                self.fault(path, number, f"the link {target} leads nowhere")
            elif heading and heading not in headings(linked.read_text()):
                self.fault(path, number, f"{linked.name} has no heading {heading}")

    def check(self):
        for path in self.read:
            for number, line in comment_lines(path, self.text[path]):
                self.check_names(path, number, line)
                self.check_keys(path, number, line)
        for path in (one for one in self.files if one.endswith(".md")):
            for number, line in enumerate((self.root / path).read_text().split("\n"), 1):
                self.check_links(path, number, line)


def headings(text):
    """As GitHub makes anchors of them."""
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", text, re.M)}


def main(root):
    checkout = Checkout(root)
    checkout.check()
    print("\n".join(checkout.faults))
    print(f"{len(checkout.read)} files read, {len(checkout.words)} words of code, {len(checkout.keys)} keys, "
          f"{len(checkout.faults)} faults")
    return 1 if checkout.faults or not checkout.read or not checkout.keys else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()))
