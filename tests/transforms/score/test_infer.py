"""Scoring one macro-batch with a model that fails on purpose."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scorers import EACH, NOBODYS, POISON, FakeScorer, ragged

from transforms.batches.coder import RecordBatchCoder
from transforms.batches.dead_letters import position_columns
from transforms.batches.measures import MEASURE, MEASURES, packed
from transforms.batches.misfits import named
from transforms.batches.repeated import WORK_TYPE
from transforms.batches.schemas import KEPT, Columns, outputs_schema, tokens_schema
from transforms.batches.score_columns import written_names
from transforms.errors import DeviceMemoryError, OutOfMemoryError
from transforms.runs.row_counts import Work
from transforms.score.macro_batch import Ragged, score_rows
from transforms.score.micro_batches import LEAST_BUDGET, Indices, plan_static, static_shape
from transforms.score.step import score_batch, work_of


class StaticScorer(FakeScorer):
    """The same in the few shapes of compiled micro-batches, with spare rows."""

    def plan(self, lengths: npt.NDArray[np.integer]) -> list[Indices]:
        return plan_static(lengths * EACH, self.token_budget)

    def shape(self, rows: int, longest: int) -> tuple[int, int]:
        return static_shape(rows, longest * EACH, self.token_budget)


COLUMNS = Columns(text="text", id="id")


def tokens_batch(
    rows: Ragged, kept: Mapping[str, pa.Array] = MappingProxyType({}), columns: Columns = COLUMNS
) -> pa.RecordBatch:
    """Tokens of these rows, with all that goes with them."""
    count = len(rows.first_segment)
    values = {
        "id": pa.array([f"r{row}" for row in range(count)], pa.string()),
        **{KEPT + name: column for name, column in kept.items()},
        **dict(zip(("source", "split", "row"), position_columns("in.parquet", 0, np.arange(count)), strict=True)),
        "kept_misfits": named(count, {}),
        "text_hash": pa.array(range(count), pa.int64()),
        "tokens": pa.LargeListArray.from_arrays(pa.array(rows.offsets), pa.array(rows.values)),
        "first_segment": pa.array(rows.first_segment),
        "truncated": pa.array([False] * count, pa.bool_()),
        MEASURES: packed(np.zeros(count, MEASURE)),
    }
    schema = tokens_schema(columns)
    arrays = [values[name].cast(schema.field(name).type) for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


TOKENS = st.lists(st.one_of(st.integers(0, 3), st.sampled_from([0, 1, POISON])), min_size=1, max_size=8)


@settings(deadline=None)
@given(
    st.lists(st.tuples(TOKENS, st.integers(0, 2)), max_size=40),
    st.integers(1, 60 * EACH),
    st.one_of(st.none(), st.integers(LEAST_BUDGET, 60 * EACH)),
    st.sampled_from([FakeScorer, StaticScorer]),
)
def test_exactly_the_rows_at_fault_fail(
    rows: list[tuple[list[int], int]], budget: int, largest: int | None, kind: type[FakeScorer]
) -> None:
    scorer = kind(largest, budget)
    results = score_rows(ragged(rows), scorer)
    # A row fails for its size only where nothing but itself is too large.
    bad = [POISON in tokens or scorer.shape(1, len(tokens))[1] > (largest or 1 << 30) for tokens, _ in rows]
    assert min(budget, LEAST_BUDGET) <= scorer.token_budget <= budget
    assert results.work.token_budget == (scorer.token_budget if rows else 0)
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
    scorer = FakeScorer(token_budget=1_024 * EACH)
    assert np.flatnonzero(score_rows(ragged(rows), scorer).failed).tolist() == [777]
    assert scorer.calls <= 2 * 10 + 1


def test_what_is_too_large_once_is_not_tried_again_at_that_size() -> None:
    rows = [([i + 100] * 4, 0) for i in range(256)]
    scorer = FakeScorer(largest=64 * EACH)
    results = score_rows(ragged(rows), scorer)
    assert not results.failed.any()
    # Two micro-batches of 128 rows, three times halved to 16: 3 refusals, and 16 that fit.
    assert scorer.calls == 3 + 16
    # Nor in the next macro-batch.
    score_rows(ragged([([i + 1000] * 4, 0) for i in range(256)]), scorer)
    assert scorer.calls == 3 + 16 + 16


@pytest.mark.parametrize("error", NOBODYS)
def test_an_error_of_the_device_is_raised_and_no_row_fails_for_it(error: type[tf.errors.OpError]) -> None:
    class Gone(FakeScorer):
        def __call__(self, *arguments: object) -> npt.NDArray[np.float32]:
            self.calls += 1
            raise error(None, None, "the device is gone")

    scorer = Gone()
    with pytest.raises(error):
        score_rows(ragged([([i + 100], 0) for i in range(8)]), scorer)
    assert scorer.calls == 1, "retrying is for the runner"


class Busy(FakeScorer):
    """Somebody else has the memory for the first `busy` calls."""

    busy = 0

    def __call__(self, *arguments: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        self.busy -= 1
        if self.busy >= 0:
            self.calls += 1
            raise OutOfMemoryError
        return super().__call__(*arguments)


def test_memory_that_is_short_for_a_while_costs_no_row_and_not_the_whole_budget() -> None:
    scorer, rows = Busy(), [([i + 100] * 3, 3) for i in range(16)]
    scorer.busy = 4
    assert not score_rows(ragged(rows), scorer).failed.any()
    assert (scorer.calls, scorer.token_budget) == (4 + 16, LEAST_BUDGET)


def test_a_device_without_memory_for_the_least_is_an_error_and_costs_no_row() -> None:
    scorer = Busy()
    scorer.busy = 1_000
    with pytest.raises(DeviceMemoryError, match="for a micro-batch of 1 x 384 tokens, and 512 must fit: end what"):
        score_rows(ragged([([i + 100] * 3, 3) for i in range(100)]), scorer)
    assert scorer.calls < 12


def test_one_row_whose_static_shape_has_spare_rows_is_tried_without_them() -> None:
    scorer = StaticScorer(largest=2_048, token_budget=65_536)
    assert scorer.shape(1, 2) == (16, 256)
    results = score_rows(ragged([([100] * 2, 2)]), scorer)
    assert (results.failed.tolist(), scorer.token_budget) == ([False], 2_048)


def test_a_budget_that_another_thread_has_halved_is_taken_as_it_is() -> None:
    class Shared(FakeScorer):
        def __call__(self, *arguments: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
            if self.token_budget > LEAST_BUDGET:
                self.token_budget = LEAST_BUDGET
                raise OutOfMemoryError
            return super().__call__(*arguments)

    results = score_rows(ragged([([100], 1)]), Shared())
    assert (results.failed.tolist(), results.work.token_budget) == ([False], LEAST_BUDGET)


def test_only_finite_outputs_are_remembered() -> None:
    class Glitch(FakeScorer):
        def __call__(self, *arguments: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
            outputs = super().__call__(*arguments)
            return outputs if self.calls > 1 else np.where(outputs == outputs.max(), np.nan, outputs)

    scorer, rows = Glitch(), ragged([([7, 8], 2), ([5], 1)])
    first, again = score_rows(rows, scorer), score_rows(rows, scorer)
    assert (first.work.remembered, again.work.remembered) == (0, 1)
    assert np.isnan(first.outputs).any(axis=1).tolist() == [True, False]
    assert again.outputs.tolist() == [[15, 2], [5, 1]]


def test_a_slice_of_a_batch_is_scored_as_the_rows_it_has() -> None:
    rows = [([i + 100, 7, 8][: 1 + i % 3], i) for i in range(20)]
    given = ragged(rows)
    found = score_batch(tokens_batch(given).slice(7, 9), FakeScorer(), COLUMNS)
    assert found.column("outputs").to_pylist() == [[sum(tokens), first] for tokens, first in rows[7:16]]
    assert found.column("token_count").to_pylist() == [len(tokens) for tokens, _ in rows[7:16]]
    assert work_of(found).scored == 9


def test_what_the_model_gave_has_the_declared_schema_and_travels_with_its_work() -> None:
    found = score_batch(tokens_batch(ragged([([100, 7], 1), ([100, 7], 1), ([8], 0)])), FakeScorer(), COLUMNS)
    assert found.schema.equals(outputs_schema(COLUMNS))
    assert not found.schema.metadata
    there = RecordBatchCoder().decode(RecordBatchCoder().encode(found))
    for batch in (there, there.filter(pa.array([False, True, False])), there.slice(0, 0)):
        assert work_of(batch)[:3] == (2, 1, 0)
        assert work_of(batch).precision == "float32"
    assert work_of(score_batch(found_nothing := tokens_batch(ragged([])), FakeScorer(), COLUMNS)) == Work()
    assert found_nothing.num_rows == 0


def test_the_type_of_the_work_is_that_of_the_row_counts() -> None:
    assert {field.name for field in WORK_TYPE} == set(Work._fields)
    full = Work(*range(6), precision="float32", token_budget=7)
    assert pa.array([full._asdict()], WORK_TYPE)[0].as_py() == full._asdict()


def test_a_kept_column_may_be_called_like_what_is_said_of_a_whole_batch() -> None:
    for name in ("work", "precision"):
        assert name not in written_names("classification") | written_names("regression")
        columns = Columns(text="text", id="id", kept=pa.schema([(name, pa.int64())]))
        batch = tokens_batch(ragged([([100], 1)]), kept={name: pa.array([42])}, columns=columns)
        found = score_batch(batch, FakeScorer(), columns)
        assert found.column(KEPT + name).to_pylist() == [42]
        assert work_of(found).scored == 1


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
