"""What the windows of a text make of it, against a plain loop."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.long_texts import LongTexts
from model.windows import NOBODY, Folding, Windows, joined, mean_of, softmax

FOLDINGS = [(by, kind) for by in ("mean", "max") for kind in ("softmax", "several", "none", "value")]


def folding(by: str, kind: str) -> Folding:
    return Folding(by=by, activation={"several": "sigmoid", "value": "sigmoid"}.get(kind, kind), step=10)


def odds(logits: list[float], chosen: int) -> float:
    """The log odds of a class: in the order of its probability, and exact where that is 1 in every type."""
    others = [logit for number, logit in enumerate(logits) if number != chosen]
    return logits[chosen] - max(others) - math.log(sum(math.exp(logit - max(others)) for logit in others))


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(FOLDINGS), st.integers(2, 4))
def test_a_text_gets_what_a_plain_loop_makes_of_its_windows(data: st.DataObject, how: tuple[str, str], c: int) -> None:
    by, kind = how
    width = 1 if kind in ("none", "value") else c
    # In steps, so that ties are ties in every precision.
    numbers = st.integers(-40, 40).map(lambda number: number / 4)
    window = st.lists(numbers, min_size=width, max_size=width)
    texts = data.draw(st.lists(st.lists(window, min_size=1, max_size=5), min_size=0, max_size=6))
    logits = np.array([row for text in texts for row in text], np.float32).reshape(-1, width)
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    fold = folding(by, kind)
    if by == "max" and width == 1 and texts:
        with pytest.raises(ValueError, match="folded by mean"):
            fold(logits, offsets)
        return
    found = fold(logits, offsets)
    assert (found.logits.dtype, found.logits.shape, found.deciding.dtype) == (np.float32, (len(texts), width), np.int32)
    for text, folded, deciding in zip(texts, found.logits, found.deciding, strict=True):
        rows = np.array(text)
        if kind != "softmax":
            assert deciding == NOBODY
            expected = rows.mean(axis=0) if by == "mean" else rows.max(axis=0)
        else:
            best = [int(np.argmax(row if by == "max" else rows.mean(axis=0))) for row in text]
            sure = [odds(row, chosen) for row, chosen in zip(text, best, strict=True)]
            assert sure[deciding] == pytest.approx(max(sure), abs=1e-9)
            assert rows.tolist().index(text[deciding]) == deciding, "of equal windows the first decides"
            expected = rows.mean(axis=0) if by == "mean" else rows[deciding]
        np.testing.assert_allclose(folded, expected, rtol=1e-6, atol=1e-6)


def test_what_is_shown_is_what_the_graph_shows_of_one_window() -> None:
    logits = np.array([[1.0, 3.0], [-90.0, 90.0]], np.float32)
    np.testing.assert_allclose(folding("mean", "softmax").shown(logits)[0], [0.11920292, 0.8807971], atol=1e-7)
    np.testing.assert_allclose(folding("mean", "several").shown(logits)[1], [0.0, 1.0], atol=1e-7)
    np.testing.assert_allclose(folding("mean", "value").shown(logits[:1, :1]), [[0.7310586]], atol=1e-7)
    assert folding("mean", "none").shown(logits) is logits
    assert np.isfinite(folding("mean", "softmax").shown(np.array([[3e38, -3e38]], np.float32))).all()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("by", "kind"), [("mean", "softmax"), ("max", "softmax"), ("max", "several"), ("mean", "none")]
)
def test_a_text_with_one_logit_that_is_not_finite_has_none_that_is(by: str, kind: str, odd: float) -> None:
    width = 1 if kind == "none" else 2
    logits = np.arange(5 * width, dtype=np.float32).reshape(5, width)
    logits[1, -1] = odd
    found = folding(by, kind)(logits, np.array([0, 1, 3, 5]))
    assert np.isfinite(found.logits).all(axis=1).tolist() == [True, False, True]


def test_the_largest_entry_of_the_whole_vector_decides_and_not_the_largest_logit() -> None:
    # The second window has the larger logit, the first one is surer.
    logits = np.array([[4.0, -4.0], [9.0, 8.5]], np.float32)
    found = folding("max", "softmax")(logits, np.array([0, 2]))
    assert (found.logits.tolist(), found.deciding.tolist()) == ([[4.0, -4.0]], [0])


def test_windows_of_rows_are_taken_sliced_and_joined() -> None:
    windows = Windows(np.array([8, 8, 3, 5, 8, 2], np.int32), np.array([0, 3, 4, 6]))
    taken = windows.take(np.array([2, 0]))
    assert (taken.lengths.tolist(), taken.offsets.tolist()) == ([8, 2, 8, 8, 3], [0, 2, 5])
    sliced = windows.slice(slice(1, 3))
    assert (sliced.lengths.tolist(), sliced.offsets.tolist()) == ([5, 8, 2], [0, 1, 3])
    both = joined([sliced, taken])
    assert both.lengths.tolist() == [5, 8, 2, 8, 2, 8, 8, 3]
    assert (both.counts.tolist(), joined([]).counts.tolist()) == ([1, 2, 2, 3], [])
    assert mean_of(np.array([[1.0], [2.0], [6.0]], np.float32), np.array([0, 1, 3])).tolist() == [[1.0], [4.0]]


def test_a_bundle_that_cuts_folds_nothing() -> None:
    assert Folding.of(LongTexts(how="tail"), 128, "softmax") is None
    made = Folding.of(LongTexts(how="windows", stride=26, by="max"), 128, "softmax")
    assert made == Folding(by="max", activation="softmax", step=100)


def test_a_text_has_the_vector_of_the_window_that_decided_or_the_mean_of_all() -> None:
    vectors, offsets = np.array([[1.0, 0.0], [3.0, 8.0], [5.0, 6.0]], np.float32), np.array([0, 2, 3])
    deciding = np.array([1, 0], np.int32)
    mean, best = [[2.0, 4.0], [5.0, 6.0]], [[3.0, 8.0], [5.0, 6.0]]
    assert folding("mean", "softmax").vectors(vectors, offsets, deciding).tolist() == mean
    assert folding("max", "softmax").vectors(vectors, offsets, deciding).tolist() == best
    nobody = np.full(2, NOBODY, np.int32)
    assert folding("max", "several").vectors(vectors, offsets, nobody).tolist() == mean
    assert folding("mean", "none").vectors(vectors[:, :0], offsets, nobody).shape == (2, 0)


def test_the_surest_window_is_found_where_probabilities_cannot_tell() -> None:
    # In float32 both are 1.
    logits = np.array([[0.0, 17.0], [40.0, 0.0], [0.0, 39.0]], np.float32)
    assert softmax(logits).max(axis=1).min() == 1
    found = folding("max", "softmax")(logits, np.array([0, 3]))
    assert (found.deciding.tolist(), found.logits.tolist()) == ([1], [[40.0, 0.0]])
    # The mean is class 0 by far; the first window is less sure of it than the second.
    logits = np.array([[18.0, 0.0], [90.0, 0.0]], np.float32)
    assert folding("mean", "softmax")(logits, np.array([0, 2])).deciding.tolist() == [1]
