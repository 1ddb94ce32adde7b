"""Texts with windows: scored once a window, folded by text."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scorers import COLUMNS, EACH, POISON, FakeScorer, texts_batch, windowed

from model.windows import NOBODY, Folding
from transforms.batches.score_columns import scores_schema
from transforms.bigquery.fields import SCORES, table_fields, to_add
from transforms.featurize.step import TokenArrays, featurize, within
from transforms.score.windows import score_texts

OWN = ("windows", "deciding_window", "window_first_token")


def scorer(by: str = "mean", **settings: int) -> FakeScorer:
    """Logits of a window: the sum of its tokens, and how many they are."""
    made = FakeScorer(**settings)
    made.fold = Folding(by=by, activation="softmax", step=2)
    return made


WINDOW = st.lists(st.one_of(st.integers(0, 3), st.sampled_from([0, 1, POISON])), min_size=1, max_size=4)
TEXTS = st.lists(st.lists(WINDOW, min_size=1, max_size=4), max_size=12)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 60 * EACH))
def test_a_text_fails_with_any_of_its_windows_and_each_window_is_scored_once(
    texts: list[list[list[int]]], budget: int
) -> None:
    told: list[int] = []
    model = scorer(token_budget=budget)
    found = score_texts(windowed(texts), model, told.append)
    bad = [any(POISON in window for window in text) for text in texts]
    assert found.failed.tolist() == bad
    assert sum(told) == len(texts)
    assert found.deciding is not None
    assert len(model.seen) == len(set(model.seen)), "a window was scored twice"
    good = {(len(w), *w) for text in texts for w in text if POISON not in w}
    assert set(model.seen) == good
    for text, outputs, failed in zip(texts, found.outputs, bad, strict=True):
        if failed:
            assert np.isnan(outputs).all()
            continue
        logits = np.mean([[sum(window), len(window)] for window in text], axis=0)
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        np.testing.assert_allclose(outputs, shares, rtol=0, atol=1e-6)
    work = found.work
    assert work.scored + work.copied + work.remembered == len(texts) - sum(bad)
    assert (work.windows, work.windows_computed) == (sum(map(len, texts)), len(good))
    assert work.tokens == sum(len(window) - 1 for window in good)
    again = score_texts(windowed(texts), model).work
    # A window that failed is tried again, and few share a place in the memo.
    assert (again.scored > 0) <= (again.windows_computed > 0)
    assert again.windows_computed <= len(good) // 2 + 1


def test_work_counts_texts_and_windows_apart() -> None:
    model = scorer()
    a, b, c = [20, 21], [22], [23, 24, 25]
    first = score_texts(windowed([[a, b], [b, a], [a], [c]]), model).work
    # The second and third text have only windows that the first one has.
    assert (first.scored, first.copied, first.remembered) == (2, 2, 0)
    assert (first.windows, first.windows_computed, first.tokens) == (6, 3, 6)
    again = score_texts(windowed([[a, b], [b, [26]], [[26]]]), model).work
    assert (again.scored, again.copied, again.remembered) == (1, 1, 1)
    assert (again.windows, again.windows_computed) == (5, 1)
    assert {"windows", "windows_computed"} <= again.told.keys()
    plain = windowed([[a], [a]])._replace(windows=None)
    assert not {"windows", "windows_computed"} & score_texts(plain, FakeScorer()).work.told.keys()


def test_no_micro_batch_is_larger_for_a_text_with_many_windows() -> None:
    rows = windowed([[[100 + i, 7, 8, 9] for i in range(300)], [[5]]])
    model = scorer(token_budget=16 * EACH)
    sizes: list[int] = []
    score = FakeScorer.__call__

    def call(self: Any, values: Any, lengths: Any, first: Any) -> Any:
        sizes.append(len(lengths) * int(lengths.max()) * EACH)
        return score(self, values, lengths, first)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeScorer, "__call__", call)
        found = score_texts(rows, model)
    assert (max(sizes), len(sizes), found.failed.any()) == (16 * EACH, 76, False)


def test_texts_with_windows_need_a_model_that_folds_them() -> None:
    with pytest.raises(ValueError, match="the bundle of this model makes none"):
        score_texts(windowed([[[1]]]), FakeScorer())


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(3, 20), st.data())
def test_a_batch_is_cut_so_that_its_windows_stay_within_so_many_tokens(
    sizes: list[int], max_tokens: int, data: st.DataObject
) -> None:
    step, most = data.draw(st.integers(1, max_tokens - 2)), data.draw(st.integers(1, 5_000))
    parts = list(within(texts_batch(["x" * size for size in sizes]), max_tokens, step, most))
    assert [len(t) for part in parts for t in part.column("text").to_pylist()] == sizes
    room = max_tokens - 2
    for part in parts:
        tokens = [len(text) for text in part.column("text").to_pylist()]
        windows = [1 + max(0, -(-(n - room) // step)) for n in tokens]
        assert sum(windows) * max_tokens <= most or part.num_rows == 1


def test_a_text_with_too_many_windows_is_a_dead_letter_beside_one_that_the_tokenizer_fails_on() -> None:
    columns = replace(COLUMNS, windows=True)

    def graph(*texts: Any) -> TokenArrays:
        import tensorflow as tf

        if b"bad" in texts[0]:
            raise tf.errors.InvalidArgumentError(None, None, "says the text")
        rows = [[] if text == b"long" else [3, len(text)] for text in texts[0]]
        lengths = np.array([sum(row) for row in rows], np.int64)
        counts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        flat = np.array([n for row in rows for n in row], np.int32)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        no = np.zeros(len(rows), bool)
        return TokenArrays(np.ones(int(lengths.sum()), np.int32), offsets, lengths.astype(np.int32), no, flat, counts)

    tokens, dead = featurize(texts_batch(["a", "long", "bad", "bcd"]), graph, columns)
    assert tokens.column("id").to_pylist() == ["0", "3"]
    assert tokens.column("windows").to_pylist() == [[3, 1], [3, 3]]
    assert [len(row) for row in tokens.column("tokens").to_pylist()] == [4, 6]
    assert dead is not None
    told = {row["id"]: (row["stage"], row["code"]) for row in dead.to_pylist()}
    assert told == {"1": ("Featurize", "too_many_windows"), "2": ("Featurize", "not_tokenized")}
    assert "long" not in " ".join(dead.column("reason").to_pylist()).split()
    nothing, all_dead = featurize(texts_batch(["long"]), graph, columns)
    assert (nothing.num_rows, all_dead is not None) == (0, True)


def test_a_table_has_the_columns_nullable_and_one_that_exists_gets_them() -> None:
    nothing = pa.schema([])
    fields = table_fields(scores_schema(nothing, "classification", windows=True), SCORES)
    plain = table_fields(scores_schema(nothing, "classification"), SCORES)
    new = [field for field in fields if field not in plain]
    assert [(field["name"], field["type"], field["mode"]) for field in new] == [
        (name, "INTEGER", "NULLABLE") for name in OWN
    ]
    found, wanted = ({"schema": {"fields": some}} for some in (plain, fields))
    assert to_add(found, wanted) == new
    assert to_add(wanted, found) == []


def test_nobody_decides_where_every_label_may_have_another_window() -> None:
    made = Folding(by="max", activation="sigmoid", step=5)
    assert made(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.array([0, 2])).deciding.tolist() == [NOBODY]
