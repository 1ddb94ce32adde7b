"""Micro-batches and duplicates within a macro-batch, against what plain Python says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.micro_batches import plan_micro_batches, unique_rows

TOKEN_ROWS = st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=40)


@given(st.lists(st.integers(0, 600), max_size=200), st.integers(1, 5_000))
def test_every_row_is_in_one_micro_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_micro_batches(np.array(lengths, np.int64), budget)
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget


@given(st.lists(st.integers(0, 600), max_size=200), st.integers(1, 5_000))
def test_rows_of_like_length_are_together(lengths: list[int], budget: int) -> None:
    planned = [lengths[row] for batch in plan_micro_batches(np.array(lengths, np.int64), budget) for row in batch]
    assert planned == sorted(lengths, reverse=True)


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_below_one_token_is_refused(budget: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        plan_micro_batches(np.array([1]), budget)


@given(TOKEN_ROWS, st.integers(0, 3))
def test_equal_rows_are_found_and_only_those(rows: list[list[int]], before: int) -> None:
    # `before` values stand in front of the first row, as in a slice of a larger batch.
    lengths = [len(row) for row in rows]
    values = np.array([token for row in rows for token in row], np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    unique = unique_rows(values, offsets + before)
    assert [rows[unique.first[i]] for i in unique.inverse] == rows
    assert len(unique.first) == len({tuple(row) for row in rows})


def test_equal_hashes_are_not_taken_for_equal_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "transforms.micro_batches._row_hashes", lambda values, offsets, lengths: np.zeros(len(lengths), np.uint64)
    )
    unique = unique_rows(np.array([1, 2, 3, 4, 1, 2], np.int32), np.array([0, 2, 4, 6]))
    assert unique.inverse[0] != unique.inverse[1], "same length, same hash, other tokens"
