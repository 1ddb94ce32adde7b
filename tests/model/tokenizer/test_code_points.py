"""Every code point in the flavours that go by character, against what their makers gave for it."""

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow as tf
from support.plain_tokenizer import (
    CASES,
    CODE_POINTS,
    TRUTH,
    Fast,
    Maker,
    blocks,
    category,
    digest,
    letters_vocabulary,
    makers,
    members,
    patterns,
    token_ids,
)

from model.tokenizer import code_points
from model.tokenizer.flavours import FLAVOURS, UNKNOWN
from model.tokenizer.tokenization import TokenizerSpec

TOKENS = letters_vocabulary()
IDS = {token: i for i, token in enumerate(TOKENS)}
BY = makers()
STORED: dict[str, Any] = json.loads(TRUTH.read_text(encoding="utf-8"))
# google-research's rules strip accents exactly when they fold case.
MADE = [*(("huggingface", case) for case in CASES), ("google_research", "uncased"), ("google_research", "cased")]
MAKERS_AND_CASES = pytest.mark.parametrize(("flavour", "case"), MADE)
TOGETHER = 64
Encode = Any


def encoder(flavour: str, case: str, tokens: list[str]) -> Encode:
    """Texts to ids without special tokens, as a ragged tensor."""
    lower_case, strips = CASES[case]
    options = {} if strips == lower_case else {"strip_accents": strips}
    word_pieces = FLAVOURS[flavour](tokens, lower_case=lower_case, **options)
    graph = tf.function(word_pieces.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    return lambda texts: graph(tf.constant([text.encode() for text in texts], tf.string))


@functools.cache
def known(flavour: str, case: str) -> Encode:
    """The encoder of the vocabulary of letters."""
    return encoder(flavour, case, TOKENS)


def plain(text: str, ids: dict[str, int], maker: Maker, case: str) -> list[int]:
    lower_case, strips = CASES[case]
    return token_ids(text, ids, maker, lower_case=lower_case, strip_accents=strips)


@functools.cache
def joined_texts() -> list[list[str]]:
    """The texts of each block."""
    blocked = [[text for c in block for text in patterns(c)] for block in blocks()]
    return [["\n".join(texts[i : i + TOGETHER]) for i in range(0, len(texts), TOGETHER)] for texts in blocked]


def wrong(encode: Encode, block: list[int], maker: Maker, case: str) -> Iterator[str]:
    """The code points of a block whose ids are not the maker's."""
    texts = [text for c in block for text in patterns(c)]
    for text, ids in zip(texts, encode(texts).to_list(), strict=True):
        if ids != plain(text, IDS, maker, case):
            yield ascii(text)


@MAKERS_AND_CASES
def test_every_code_point_has_the_ids_that_its_maker_gave(flavour: str, case: str) -> None:
    """Alone, in a word and between spaces: texts that are joined where their ids are, which is many times as fast."""
    encode, stored = known(flavour, case), STORED[f"{flavour} {case}"].split()
    for block, texts, expected in zip(blocks(), joined_texts(), stored, strict=True):
        if digest(encode(texts).values.numpy().tolist()) != expected:
            found = list(wrong(encode, block, BY[flavour], case))
            pytest.fail(f"{len(found)} texts from U+{block[0]:04X} on: {', '.join(found[:20])}")


@MAKERS_AND_CASES
def test_each_text_of_a_low_code_point_by_itself_has_the_ids_that_its_maker_gave(flavour: str, case: str) -> None:
    stored = STORED[f"{flavour} {case}"].split()
    for block, expected in list(zip(blocks(), stored, strict=True))[:4]:
        texts = [text for c in block for text in patterns(c)]
        assert digest(known(flavour, case)(texts).values.numpy().tolist()) == expected, hex(block[0])


@MAKERS_AND_CASES
def test_texts_of_many_code_points_have_the_ids_of_their_maker(flavour: str, case: str) -> None:
    """Of the Rust tokenizers, and of the tokenizer that google-research published."""
    lines = (TRUTH.parent / "texts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) > 400
    expected = [row[case if flavour == "huggingface" else f"{flavour} {case}"] for row in rows]
    found = known(flavour, case)([row["text"] for row in rows]).to_list()
    assert [row["text"] for row, a, b in zip(rows, found, expected, strict=True) if a != b] == []


@MAKERS_AND_CASES
def test_words_are_counted_between_what_their_maker_splits_at(flavour: str, case: str) -> None:
    """Whatever might be punctuation, white space or CJK, in the middle of what is too long as one word."""
    maker, half = BY[flavour], "a" * (BY[flavour].longest * 3 // 5)
    rules = (code_points.HUGGING_FACE, code_points.GOOGLE_RESEARCH)
    odd = {c for rule in rules for c in members(rule.letters + " " + rule.split)}
    odd |= {c for c in map(chr, range(0x20000)) if category(c)[0] in "PZ" or maker.is_punctuation(c)}
    texts = [f"{half}{c}{half}" for c in sorted(odd)]
    tokens = [*TOKENS[:5], half, f"##{half}"]
    ids = {token: i for i, token in enumerate(tokens)}
    found = encoder(flavour, case, tokens)(texts).to_list()
    expected = [plain(text, ids, maker, case) for text in texts]
    assert [ascii(t[len(half)]) for t, a, b in zip(texts, found, expected, strict=True) if a != b] == []


def test_the_tables_of_hugging_face_are_what_the_rust_tokenizers_do() -> None:
    ours = code_points.HUGGING_FACE
    assert members(ours.dropped) == members(STORED["dropped"])
    assert members(ours.marks) == members(STORED["marks"])
    assert STORED["vocabulary"] == digest(map(ord, "\n".join(TOKENS))), "made for another vocabulary: make them anew"


def test_the_tables_of_google_research_are_those_of_unicode_14() -> None:
    assert STORED["unicode"] == "14.0.0"
    every = [chr(c) for block in blocks() for c in block]
    marks = {c for c in every if category(c) == "Mn"}
    controls = {c for c in every if category(c) in ("Cc", "Cf")} - set("\t\n\r")
    assert members(code_points.GOOGLE_RESEARCH.marks) == marks
    assert members(code_points.GOOGLE_RESEARCH.dropped) == controls | {"\ufffd"}


def test_the_categories_are_those_of_unicode_14_on_every_python() -> None:
    # Its characters, as the standard counts them: without controls, private use and surrogates.
    assert sum(category(chr(c)) not in ("Cn", "Co", "Cc") for c in CODE_POINTS) == 144_697


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so \U0001fae9 tired", "so [UNK] tired"),
        ("tired\U0001fae9", "[UNK]"),
        ("love it\U0001fae9!", "love [UNK] !"),
        ("it\u061d", "[UNK]"),
        ("it\u0898", "[UNK]"),
        ("it\ue000", "it"),
        ("ΟΔΟΣ", "οδοσ"),
        ("it\U0002b820", "[UNK]"),
        ("\U00040000", "[UNK]"),
        ("so\u200b\ufeff\u00ad\u202e", "so"),
        ("so\u2028it\u3000it\u00a0!", "so it it !"),
    ],
)
def test_words_come_out_as_the_fast_tokenizer_gives_them(text: str, expected: str) -> None:
    words = ["[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]", "so", "tired", "love", "it", "!", "οδοσ", "οδος"]
    (ids,) = encoder("huggingface", "uncased", words)([text]).to_list()
    assert " ".join(words[i] for i in ids) == expected


@MAKERS_AND_CASES
def test_a_vocabulary_may_have_what_the_kernel_takes_otherwise(flavour: str, case: str) -> None:
    """Characters of later Unicode versions, those that stand in for them, and capitals nothing could match."""
    odd = "\u061d\u1b4e\u1abf\U00040000\U00040001\U00040002\ua7cb\u0264\u1c89\u1c8a"
    tokens = [*TOKENS[:5], "a", *(f"{a}{b}" for a in ("", "##", "a") for b in odd), "\u1b4ea"]
    ids = {token: i for i, token in enumerate(tokens)}
    texts = [f"{a}{b}{c}" for a in ("", "a") for b in odd for c in ("", "a", *odd)]
    found = encoder(flavour, case, tokens)(texts).to_list()
    expected = [plain(text, ids, BY[flavour], case) for text in texts]
    assert [ascii(t) for t, a, b in zip(texts, found, expected, strict=True) if a != b] == []


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("uncased", ["eclair", "e", "z", "i"]),
        ("cased", ["Éclair", "e\u0301", "Z", "İ"]),
        ("uncased with accents", ["éclair", "e\u0301", "z", "i\u0307"]),
        ("cased without accents", ["Eclair", "e", "Z", "I"]),
    ],
)
def test_case_and_accents_are_two_options(case: str, expected: list[str]) -> None:
    words = ["eclair", "éclair", "Eclair", "Éclair", "e", "e\u0301", "é", "z", "Z", "i", "i\u0307", "I", "İ"]
    tokens = ["[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]", *words]
    (ids,) = encoder("huggingface", case, tokens)(["Éclair e\u0301 Z İ"]).to_list()
    assert [tokens[i] for i in ids] == expected


def test_the_flavours_keep_their_names() -> None:
    assert isinstance(BY["huggingface"], Fast)
    specs = [TokenizerSpec(flavour=flavour) for flavour in ("model_garden", *BY)]
    assert [spec.described["flavour"] for spec in specs] == list(FLAVOURS)
