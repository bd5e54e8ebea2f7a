#!/usr/bin/env python3
"""Small tokenizers of every piece and option, beside PyPI's `tokenizers`: ids, with and without what stands around a
text, and decoded text, with and without special tokens.

Usage: tokenizer_pieces.py TOKENIZER_ANSWERS TOKENIZERS [SEED]

TOKENIZER_ANSWERS is the program tests/text/tokenizer_answers; TOKENIZERS are made of random pieces, beside those that
are built as well-known families' are. Exit code 77 (skipped) where Python has no `tokenizers`.
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

from tokenizer_parity import line

TEXTS = 40
# The pre-tokenizers of families of models: expressions before ByteLevel, in order.
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SHORT}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SHORT}|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
POSSESSIVE = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"
              r"\s*[\r\n]|\s+(?!\S)|\s")
DEEPSEEK3 = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
             r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"""
             r""" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
DEEPSEEK2 = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"]
EXPRESSIONS = [CL100K % "", CL100K % "{1,3}", O200K, POSSESSIVE, *DEEPSEEK3, *DEEPSEEK2, r"\s+$", r"^\s+", r"[0-9][0-9][0-9]",
               r"\d{1,3}(?=(?:\d{3})+(?!\d))", r"\w+|[^\w\s]+", r"(?<=\s)\S", r"(?<!\p{L})\p{L}",
               r"\p{Han}|\p{Hiragana}+|\p{Katakana}+", r"(?i)[a-f]+", r"[^\p{L}]*", r"x*", r"(?=[A-Z])", r"(?:)", r"\p{M}+|\p{C}",
               r"(?>a|[^x]+?)b?", r".", r"\S*?e", r"\x0a|\u0020", r"(a|e)(?:i|o)?+", r" "]
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
CONTENTS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "[MASK]", "<s>", "</s>", "the", " the", "  ", "    ", "\n\n", "é", "e\u0301",
            "ﬁ", "½", "世界", "<", "<|", "a", "ab", "😀", "\u212a", "[PAD]", "<think>", "x y", "\t", "'s", "12", "Ġ"]


def split(expression, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: expression}, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, use_regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def digits(individual):
    return {"type": "Digits", "individual_digits": individual}


# Normalizer, pre-tokenizer, ignore_merges, merges as pairs.
FAMILIES = {
    "GPT-2": (None, byte_level(use_regex=True), False, False),
    "GPT-NeoX, OLMo": ({"type": "NFC"}, byte_level(use_regex=True), False, False),
    "Qwen": ({"type": "NFC"}, [split(CL100K % ""), byte_level()], False, False),
    "Llama 3": (None, [split(CL100K % "{1,3}"), byte_level()], True, True),
    "o200k": (None, [split(O200K), byte_level()], True, True),
    "cl100k": (None, [split(POSSESSIVE, "Removed", True), byte_level()], True, True),
    "DeepSeek 3": ({"type": "Sequence", "normalizers": []}, [*map(split, DEEPSEEK3), byte_level()], False, True),
    "DeepSeek 2": ({"type": "Sequence", "normalizers": []}, [*map(split, DEEPSEEK2), digits(True), byte_level()], False, False),
    "StarCoder, SmolLM": (None, [digits(True), byte_level(use_regex=True)], False, False),
    "Command R": ({"type": "NFC"}, [digits(True), byte_level(use_regex=True)], False, False),
}


def trained(rng):
    """A vocabulary whose tokens cross what pre-tokenizers cut, so that ids show where they cut."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=1500, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([line(rng, []) for _ in range(3000)], trainer)
    return json.loads(tokenizer.to_str())["model"]


def model(rng, base, ignore_merges=False, pairs=True, plain=False):
    vocabulary, merges = dict(base["vocab"]), [list(merge) for merge in base["merges"]]
    merges = merges[:rng.randint(0, len(merges))] if rng.random() < 0.3 and not plain else merges
    result = {"type": "BPE", "dropout": rng.choice([None, 0.0]), "unk_token": None, "continuing_subword_prefix": None,
              "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges}
    if not plain and rng.random() < 0.3:
        # Bytes that no merge joins have no token.
        joined = {token for merge in merges for token in merge}
        for token in [token for token in vocabulary if len(token) == 1 and token not in joined]:
            if rng.random() < 0.8:
                del vocabulary[token]
        if rng.random() < 0.7:
            vocabulary["<unk>"] = max(vocabulary.values()) + 1
            result.update(unk_token="<unk>", fuse_unk=rng.random() < 0.5)
    if not plain and rng.random() < 0.15:
        rng.shuffle(merges)
    result["vocab"] = vocabulary
    result["merges"] = merges if pairs else [" ".join(merge) for merge in merges]
    return result


def added_tokens(rng, vocabulary, plain=False):
    contents = ["<|endoftext|>", "<|im_start|>", "    "] if plain else rng.sample(CONTENTS, rng.randint(0, 10))
    next_id = len(vocabulary)
    tokens, texts = [], set()
    for content in contents:
        # Of two with one normal form the reference takes one by chance.
        text = unicodedata.normalize("NFKD", content)
        if text in texts:
            continue
        texts.add(text)
        flags = {flag: not plain and rng.random() < 0.35 for flag in ("single_word", "lstrip", "rstrip")}
        special = content.startswith("<|") if plain else rng.random() < 0.5
        token_id = vocabulary.get(content)
        if token_id is None:
            token_id = next_id
            next_id += 1
        tokens.append({"id": token_id, "content": content, **flags, "normalized": not special if plain else rng.random() < 0.5,
                       "special": special})
    return tokens


def post_processor(rng, tokens):
    pieces = [byte_level(rng.random() < 0.5, rng.random() < 0.5) for _ in range(rng.choice([0, 0, 1, 2]))]
    if tokens and rng.random() < 0.6:
        chosen = [rng.choice(tokens) for _ in range(3)]
        around = [{"SpecialToken": {"id": token["content"], "type_id": 0}} for token in chosen]
        text = {"Sequence": {"id": "A", "type_id": 0}}
        num_before = rng.randint(0, 3)
        special = {}
        for token in chosen:
            times = rng.randint(1, 2)
            special[token["content"]] = {"id": token["content"], "ids": [token["id"]] * times, "tokens": [token["content"]] * times}
        pieces.insert(rng.randint(0, len(pieces)),
                      {"type": "TemplateProcessing", "single": [*around[:num_before], text, *around[num_before:]],
                       "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": special})
    if not pieces:
        return None
    return pieces[0] if len(pieces) == 1 and rng.random() < 0.5 else {"type": "Sequence", "processors": pieces}


def pre_tokenizer(rng):
    pieces = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        if rng.random() < 0.15:
            pieces.append(digits(rng.random() < 0.5))
        elif rng.random() < 0.2:
            pieces.append(split(rng.choice([" ", "e", "\n", "世", ".", "[", "$", "\\", "the", "\u0301", "a-b"]), rng.choice(BEHAVIORS),
                                rng.random() < 0.4, "String"))
        else:
            pieces.append(split(rng.choice(EXPRESSIONS), rng.choice(BEHAVIORS), rng.random() < 0.4))
    pieces.append(byte_level(rng.random() < 0.3, rng.random() < 0.4))
    return pieces if len(pieces) > 1 or rng.random() < 0.5 else pieces[0]


def normalizer(rng):
    forms = [{"type": form} for form in rng.choices(["NFC", "NFD", "NFKC", "NFKD"], k=rng.choice([0, 1, 1, 2, 3]))]
    if len(forms) < 2 and rng.random() < 0.6:
        return forms[0] if forms else None
    return {"type": "Sequence", "normalizers": forms}


def made(rng, base, family):
    """The tokenizer.json of a family, or (None) of random pieces."""
    if family is None:
        bpe = model(rng, base, rng.random() < 0.4, rng.random() < 0.5)
        forms, cuts = normalizer(rng), pre_tokenizer(rng)
    else:
        forms, cuts, ignore_merges, pairs = family
        bpe = model(rng, base, ignore_merges, pairs, plain=True)
    tokens = added_tokens(rng, bpe["vocab"], plain=family is not None)
    decoder = byte_level(rng.random() < 0.5, True)
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": forms,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": cuts} if isinstance(cuts, list) else cuts,
            "post_processor": post_processor(rng, tokens),
            "decoder": decoder if rng.random() < 0.7 else {"type": "Sequence", "decoders": [decoder]}, "model": bpe}


def expected(reference, text):
    """None where the reference itself fails: where lstrip and rstrip leave nothing between two tokens, for one."""
    try:
        return answers_of(reference, text)
    except BaseException as error:  # its panics are no Exception
        if type(error).__name__ != "PanicException":
            raise
        return None


def answers_of(reference, text):
    ids = reference.encode(text).ids
    return [ids, reference.encode(text, add_special_tokens=False).ids, reference.decode(ids, skip_special_tokens=False),
            reference.decode(ids, skip_special_tokens=True)]


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    os.environ["RUST_BACKTRACE"] = "0"
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        print(f"skipped: {error}")
        sys.exit(77)
    seed = sys.argv[3] if len(sys.argv) == 4 else "1"
    base = trained(random.Random(f"vocabulary {seed}"))
    ours = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    families = list(FAMILIES.items()) + [(f"random {number}", None) for number in range(int(sys.argv[2]))]
    num_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, family in families:
            rng = random.Random(f"{seed} {name}")
            tokenizer = made(rng, base, family)
            texts = [line(rng, [token["content"] for token in tokenizer["added_tokens"]]) for _ in range(TEXTS)]
            file = os.path.join(folder, "tokenizer.json")
            with open(file, "w", encoding="utf-8") as output:
                json.dump(tokenizer, output)
            reference = Tokenizer.from_file(file)
            wanted = [expected(reference, text) for text in texts]
            ours.stdin.write(json.dumps({"tokenizer": file, "texts": texts}) + "\n")
            ours.stdin.flush()
            answer = json.loads(ours.stdout.readline())
            wrong = [answer["refused"]] if "refused" in answer else [
                f"{text!r}:\n  ours      {got}\n  reference {want}"
                for text, got, want in zip(texts, answer["answers"], wanted) if want is not None and got != want]
            if wrong:
                num_wrong += 1
                shown = {key: value for key, value in tokenizer.items() if key != "model"}
                shown["model"] = {key: value for key, value in tokenizer["model"].items() if key not in ("vocab", "merges")}
                print(f"{name}: {len(wrong)} of {TEXTS} texts differ\n{json.dumps(shown, ensure_ascii=False)}\n{wrong[0]}")
            if num_wrong == 10:
                break
    ours.stdin.close()
    ours.wait()
    if num_wrong > 0:
        sys.exit(f"{num_wrong} tokenizers differ from `tokenizers`")
    print(f"{len(families)} tokenizers of {TEXTS} texts equal")


if __name__ == "__main__":
    main()
