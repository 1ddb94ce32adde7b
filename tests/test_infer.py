"""Scoring one macro-batch with a model that fails on purpose."""

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.infer import Ragged, score_rows
from transforms.memo import Memo
from transforms.micro_batches import Rows, plan_micro_batches

POISON = 13


class FakeScorer:
    """Gives the sum of tokens and the first segment; raises on POISON, and on more padded tokens than `largest`."""

    width = 2
    precision = "float32"

    def __init__(self, largest: int | None = None, token_budget: int = 512) -> None:
        self.largest, self.token_budget = largest, token_budget
        self.memo = Memo(self.width, 1 << 16)
        self.seen: list[tuple[int, ...]] = []
        self.calls = 0

    def plan(self, lengths: npt.NDArray[np.integer]) -> list[Rows]:
        return plan_micro_batches(lengths, self.token_budget)

    def shape(self, rows: int, longest: int) -> tuple[int, int]:
        return rows, longest

    def __call__(
        self,
        values: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int32],
        first_segment: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.float32]:
        self.calls += 1
        assert (values.dtype, lengths.dtype, first_segment.dtype) == (np.int32, np.int32, np.int32)
        if self.largest is not None and len(lengths) * lengths.max(initial=0) > self.largest:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        if (values == POISON).any():
            raise tf.errors.InvalidArgumentError(None, None, "the text says …")
        rows = np.split(values, np.cumsum(lengths)[:-1])
        self.seen += [(int(first), *row.tolist()) for row, first in zip(rows, first_segment, strict=True)]
        return np.array([[row.sum(), first] for row, first in zip(rows, first_segment, strict=True)], np.float32)


def ragged(rows: list[tuple[list[int], int]]) -> Ragged:
    lengths = [len(tokens) for tokens, _ in rows]
    return Ragged(
        np.array([token for tokens, _ in rows for token in tokens], np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([first for _, first in rows], np.int32),
    )


TOKENS = st.lists(st.one_of(st.integers(0, 3), st.sampled_from([0, 1, POISON])), min_size=1, max_size=8)


@settings(deadline=None)
@given(
    st.lists(st.tuples(TOKENS, st.integers(0, 2)), max_size=40),
    st.integers(1, 60),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_exactly_the_rows_at_fault_fail(rows: list[tuple[list[int], int]], budget: int, largest: int | None) -> None:
    scorer = FakeScorer(largest, budget)
    results = score_rows(ragged(rows), scorer)
    bad = [POISON in tokens or (largest is not None and len(tokens) > largest) for tokens, _ in rows]
    assert results.failed.tolist() == bad
    for (tokens, first), outputs, failed in zip(rows, results.outputs, bad, strict=True):
        assert np.isnan(outputs).all() if failed else outputs.tolist() == [sum(tokens), first]
    assert len(scorer.seen) == len(set(scorer.seen)), "a row was scored twice"
    good = {(first, *tokens) for (tokens, first), failed in zip(rows, bad, strict=True) if not failed}
    assert set(scorer.seen) == good
    assert results.work.scored == len(good)
    assert results.work.scored + results.work.copied == len(rows) - sum(bad)
    assert results.work.tokens == sum(len(key) - 1 for key in good) <= results.work.padded
    # The next macro-batch remembers them, but for those that failed and the few that shared a place in the memo.
    again = score_rows(ragged(rows), scorer)
    assert again.work.scored + again.work.remembered == len(good)
    assert again.work.remembered >= len(good) // 2
    np.testing.assert_array_equal(again.outputs, results.outputs)
    assert again.failed.tolist() == bad


def test_one_row_at_fault_costs_few_further_calls() -> None:
    rows = [([i + 100], 0) for i in range(1_024)]
    rows[777] = ([POISON], 0)
    scorer = FakeScorer(token_budget=1_024)
    assert np.flatnonzero(score_rows(ragged(rows), scorer).failed).tolist() == [777]
    assert scorer.calls <= 2 * 10 + 1


def test_what_is_too_large_once_is_not_tried_again_at_that_size() -> None:
    rows = [([i + 100] * 4, 0) for i in range(256)]
    scorer = FakeScorer(largest=64)
    results = score_rows(ragged(rows), scorer)
    assert not results.failed.any()
    # Two micro-batches of 128 rows, three times halved to 16: 3 refusals, and 16 that fit.
    assert scorer.calls == 3 + 16
    # Nor in the next macro-batch.
    score_rows(ragged([([i + 1000] * 4, 0) for i in range(256)]), scorer)
    assert scorer.calls == 3 + 16 + 16


def test_a_fault_of_ours_is_not_taken_for_the_rows() -> None:
    class Broken(FakeScorer):
        def __call__(self, *arguments: object) -> npt.NDArray[np.float32]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        score_rows(ragged([([1], 0)]), Broken())


def test_a_row_of_an_earlier_macro_batch_is_not_scored_again() -> None:
    scorer = FakeScorer()
    first = score_rows(ragged([([1, 2], 2)]), scorer)
    again = score_rows(ragged([([1, 2], 2), ([1, 2], 2)]), scorer)
    assert (first.work.scored, first.work.remembered) == (1, 0)
    assert (again.work.scored, again.work.copied, again.work.remembered) == (0, 1, 1)
    assert scorer.calls == 1
    # Other type ids make another row.
    assert score_rows(ragged([([1, 2], 1)]), scorer).work.scored == 1
