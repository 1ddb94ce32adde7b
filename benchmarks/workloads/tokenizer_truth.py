"""Writes tests/data/tokenizer/makers.json and texts.jsonl.

    .venv-peers/bin/python -m benchmarks.workloads.tokenizer_truth

What the Rust tokenizers of Hugging Face and google-research's own (its package bert-tensorflow, on Python's Unicode) do
with every code point, asked of them one by one. Ends with 1 if a plain loop of tests/support/plain_tokenizer.py gives
other ids than its maker. Takes some fifteen minutes; needs Python 3.11, whose Unicode is 14.
"""

import json
import os
import random
import sys
import types
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.paths import ROOT

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(ROOT / "tests"))

import tokenizers
from support.plain_tokenizer import (
    CASES,
    CODE_POINTS,
    TRUTH,
    Fast,
    GoogleResearch,
    Maker,
    blocks,
    digest,
    letters_vocabulary,
    patterns,
    token_ids,
)

UNICODE = "14.0.0"
TEXTS, SEED = 400, 20261129
TOKENS = letters_vocabulary()
IDS = {token: i for i, token in enumerate(TOKENS)}
Encode = Callable[[list[str]], list[list[int]]]


def rust(lower_case: bool, strips: bool) -> Encode:
    """transformers' BertTokenizer without special tokens."""
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(IDS, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower_case, strip_accents=strips)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return lambda texts: [found.ids for found in made.encode_batch(texts, add_special_tokens=False)]


def google(lower_case: bool, strips: bool) -> Encode:
    """google-research's own tokenizer, of which TensorFlow 1 only opens the vocabulary's file."""
    assert strips == lower_case
    for name in ("tensorflow", "tensorflow.compat", "tensorflow.compat.v1"):
        sys.modules.setdefault(name, types.ModuleType(name))
    from absl import flags
    from bert.tokenization import BasicTokenizer, WordpieceTokenizer

    flags.FLAGS(sys.argv[:1])
    basic, pieces = BasicTokenizer(lower_case, IDS), WordpieceTokenizer(IDS)
    return lambda texts: [
        [IDS[piece] for word in basic.tokenize(text) for piece in pieces.tokenize(word)] for text in texts
    ]


def plain(maker: Maker, lower_case: bool, strips: bool) -> Encode:
    """Ids by the plain loop."""
    return lambda texts: [token_ids(text, IDS, maker, lower_case=lower_case, strip_accents=strips) for text in texts]


def tables() -> dict[str, str]:
    """Code points by what the Rust tokenizers do with them, as ranges."""
    cased = tokenizers.normalizers.BertNormalizer(lowercase=False).normalize_str
    uncased = tokenizers.normalizers.BertNormalizer(lowercase=True).normalize_str
    small = tokenizers.normalizers.BertNormalizer(lowercase=True, strip_accents=False).normalize_str
    nfd = tokenizers.normalizers.NFD().normalize_str
    split = tokenizers.pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    found: dict[str, list[int]] = {
        name: [] for name in ("dropped", "cjk", "marks", "punctuation", "ordered", "undecomposed")
    }
    lowered = []
    for code_point in CODE_POINTS:
        c = chr(code_point)
        kept, folded, decomposed = cased(c), uncased(c), nfd(c)
        if not kept:
            found["dropped"].append(code_point)
            continue
        if kept == f" {c} ":
            found["cjk"].append(code_point)
        elif not folded:
            found["marks"].append(code_point)
        if small(c).strip() != c.lower().strip():
            lowered.append(f"{c}>{small(c)}")
        if len(split(f"a{c}b")) == 3:
            found["punctuation"].append(code_point)
        # A mark of an order of its own changes places with U+0345, the last of all.
        if c == "\u0345" or (decomposed == c and nfd(f"a\u0345{c}")[1] == c):
            found["ordered"].append(code_point)
        if decomposed == c != unicodedata.normalize("NFD", c):
            found["undecomposed"].append(code_point)
    return {**{name: ranges(members) for name, members in found.items()}, "lowered": " ".join(lowered)}


def ranges(code_points: Iterable[int]) -> str:
    """`300-36F 483`."""
    runs: list[list[int]] = []
    for c in code_points:
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return " ".join(f"{first:X}-{last:X}" if last > first else f"{first:X}" for first, last in runs)


def digests(encode: Encode) -> str:
    """One digest for each block of code points, of the ids of its three texts each."""
    return " ".join(
        digest(i for row in encode([text for c in block for text in patterns(c)]) for i in row) for block in blocks()
    )


def plain_digests(maker: Maker, lower_case: bool, strips: bool) -> str:
    """The same by the plain loop, which is asked once for all letters that no token has and nothing changes."""
    encode, known = plain(maker, lower_case, strips), set("".join(TOKENS))
    rows: dict[tuple[int, ...], list[int]] = {}
    found = []
    for block in blocks():
        ids: list[int] = []
        for c in block:
            letter = chr(c)
            key: tuple[int, ...] = (c,)
            if letter not in known and maker.folded(letter, lower_case, strips) == letter:
                key = (maker.is_dropped(letter), maker.is_cjk(letter), maker.is_punctuation(letter), letter.isspace())
            if key not in rows:
                rows[key] = [i for row in encode(list(patterns(c))) for i in row]
            ids += rows[key]
        found.append(digest(ids))
    return " ".join(found)


def random_texts() -> Iterator[str]:
    """Texts of letters, marks, punctuation and what no table knows, drawn together."""
    draw = random.Random(SEED)
    common = "aabbAÉé ßİΣσς,.-\u0301\u0327\u302e\u0345\u0316한日\u00a0\u2028\u200d\ufe0f\u00ad\t\n\u0000\ufffd"
    odd = [token for token in TOKENS if len(token) == 1 and ord(token) > 127]
    for _ in range(TEXTS):
        parts = []
        for _ in range(draw.randint(1, 40)):
            kind = draw.random()
            point = draw.randrange(0x20000) if kind > 0.9 else draw.choice(CODE_POINTS)
            parts.append(draw.choice(common) if kind < 0.6 else draw.choice(odd) if kind < 0.8 else chr(point))
        yield "".join(part for part in parts if not "\ud800" <= part < "\ue000")
    yield from ("a" * n + c + "b" * n for n in (49, 50, 60, 99, 100, 120) for c in "\u061dé한\u166d,\u0301\U0001fae9")


def main() -> None:
    """Asks, compares and writes."""
    if unicodedata.unidata_version != UNICODE:
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}, the tables are made with {UNICODE}")
    found: dict[str, Any] = {"tokenizers": tokenizers.__version__, "unicode": UNICODE, **tables()}
    texts, rows, wrong = list(random_texts()), {}, []
    for case, options in CASES.items():
        fast, again = rust(*options), plain(Fast(found), *options)
        rows[case] = fast(texts)
        wrong += [f"{case} {t!a}" for t, a, b in zip(texts, rows[case], again(texts), strict=True) if a != b]
        found[f"huggingface {case}"] = digests(fast)
        wrong += [f"{case} Fast"] if plain_digests(Fast(found), *options) != found[f"huggingface {case}"] else []
        if case in ("uncased", "cased"):
            name, first, again = f"google_research {case}", google(*options), plain(GoogleResearch(), *options)
            rows[name] = first(texts)
            wrong += [f"{name} {t!a}" for t, a, b in zip(texts, rows[name], again(texts), strict=True) if a != b]
            found[name] = digests(first)
            wrong += [name] if plain_digests(GoogleResearch(), *options) != found[name] else []
    found["vocabulary"] = digest(map(ord, "\n".join(TOKENS)))
    TRUTH.write_text(json.dumps(found, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    lines = [json.dumps({"text": text, **{case: ids[i] for case, ids in rows.items()}}) for i, text in enumerate(texts)]
    (TRUTH.parent / "texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
