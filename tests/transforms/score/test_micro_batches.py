"""Micro-batches and duplicates within a macro-batch, against what plain Python says."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.score.micro_batches import (
    STATIC_SHARES,
    TOKEN_BUDGET,
    plan_micro_batches,
    plan_static,
    static_shape,
    unique_rows,
)

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
    for plan in (plan_micro_batches, plan_static):
        with pytest.raises(ValueError, match="must be at least 1"):
            plan(np.array([1]), budget)


@given(TOKEN_ROWS, st.integers(0, 3))
def test_equal_rows_are_found_and_only_those(rows: list[list[int]], before: int) -> None:
    # `before` values stand in front of the first row, as in a slice of a larger batch.
    lengths = [len(row) for row in rows]
    values = np.array([token for row in rows for token in row], np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    unique = unique_rows(values, offsets + before)
    assert [rows[unique.first[i]] for i in unique.inverse] == rows
    assert len(unique.first) == len({tuple(row) for row in rows})


@given(st.lists(st.integers(1, 700), max_size=300), st.integers(1, 9_000))
def test_static_micro_batches_hold_every_row_in_few_shapes(lengths: list[int], budget: int) -> None:
    array = np.array(lengths, np.int64)
    batches = plan_static(array, budget)
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for number, batch in enumerate(batches):
        rows, width = static_shape(len(batch), int(array[batch].max()), budget)
        assert width >= array[batch].max()
        assert rows == 1 or rows * width <= budget
        assert rows == len(batch) or (number == len(batches) - 1 and rows > len(batch)), "spare rows before the end"
        assert rows in {max(1, max(1, budget // width) // share) for share in STATIC_SHARES}


def likely_lengths(mean: float, rows: int = 8_192) -> npt.NDArray[np.int64]:
    return np.clip(np.random.default_rng(1).lognormal(mean, 0.6, rows), 8, 512).astype(np.int64)


@pytest.mark.parametrize("mean", [3.0, 4.5, 5.5])
def test_micro_batches_of_a_cpu_cost_at_most_a_twentieth_of_padding(mean: float) -> None:
    lengths = likely_lengths(mean)
    batches = plan_micro_batches(lengths, TOKEN_BUDGET["cpu"])
    assert sum(len(batch) * int(lengths[batch].max()) for batch in batches) <= 1.05 * lengths.sum()


def test_a_micro_batch_ends_where_rows_get_clearly_shorter_unless_it_is_small() -> None:
    lengths = np.repeat([500, 460, 440, 100, 80], [2, 1, 1, 1, 40])
    # 460 is similar to 500, 440 is not; nothing is similar to 440, but three rows of it make a quarter of the budget.
    assert [lengths[rows].tolist() for rows in plan_micro_batches(lengths, 4_000)] == [
        [500, 500, 460],
        [440, 100, 80],
        [80] * 39,
    ]


@pytest.mark.parametrize("mean", [3.0, 4.5, 5.5])
def test_static_shapes_cost_at_most_three_tenths_of_padding(mean: float) -> None:
    lengths = likely_lengths(mean)
    padded = 0
    shapes = set()
    for batch in plan_static(lengths, TOKEN_BUDGET["gpu"]):
        shape = static_shape(len(batch), int(lengths[batch].max()), TOKEN_BUDGET["gpu"])
        padded += shape[0] * shape[1]
        shapes.add(shape)
    assert padded / lengths.sum() <= 1.30
    assert len(shapes) <= 32


def test_a_row_longer_than_every_width_has_a_shape() -> None:
    assert static_shape(1, 513, 65_536) == (7, 576)
    assert static_shape(1, 512, 100) == (1, 512)
