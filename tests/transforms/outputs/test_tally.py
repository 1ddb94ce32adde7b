"""Rows counted for a summary: what a plain loop counts, however they are cut into batches."""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.runs.plain_summary import assert_tells, count, denominators, has, sampled, share, tally

from transforms.batches.dead_letters import position_columns
from transforms.batches.measures import MEASURE, MEASURES, SAMPLED, packed, unmeasured
from transforms.batches.misfits import named
from transforms.batches.repeated import WORK, WORK_FIELD, repeated
from transforms.batches.schemas import MAX_ROWS, Columns, outputs_schema
from transforms.outputs.json_text import written
from transforms.outputs.summary.record import MAX_BYTES, limited, merge
from transforms.outputs.summary.tally import Summarizer
from transforms.runs.labelling import Labelling
from transforms.runs.row_counts import Work
from transforms.runs.run import Run
from transforms.score.label import label

COLUMNS = Columns(text="text", id="id")
RUN = Run(
    run_id="r",
    output="out",
    sequence=0,
    bundle="b@0",
    date=dt.date(2026, 11, 21),
    started=dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC),
)


def scores(outputs: Any, labels: tuple[str, ...], **labelling: Any) -> pa.RecordBatch:
    """Scores with positions of rows for which the model gave these numbers [B, C]; every row has another length."""
    numbers = np.asarray(outputs, np.float32)
    rows = np.arange(len(numbers))
    measured = np.zeros(len(rows), MEASURE)
    measured["unknown_tokens"], measured["digits"], measured["urls"] = rows % 5, rows * 1_000 % 1_000_001, rows % 2
    columns = {
        "id": pa.array([str(row) for row in rows]),
        **dict(zip(("source", "split", "row"), position_columns("in", 0, rows), strict=True)),
        "kept_misfits": named(len(rows), {}),
        "text_hash": pa.array(rows),
        "truncated": pa.array(rows % 3 == 0),
        MEASURES: packed(measured),
        "token_count": pa.array(2 + rows * 7, pa.int32()),
        "outputs": pa.array(list(numbers), pa.list_(pa.float32())),
        "failed": pa.array(np.zeros(len(rows), bool)),
        WORK: repeated(Work()._asdict(), WORK_FIELD, len(rows)),
    }
    batch = pa.RecordBatch.from_pydict(columns, schema=outputs_schema(COLUMNS))
    found, dead = label(batch, Labelling(labels=labels, columns=COLUMNS, run=RUN, **labelling))
    assert dead is None
    return found


def summary(batches: list[pa.RecordBatch], labels: tuple[str, ...]) -> dict[str, Any]:
    counting = Summarizer(labels)
    for batch in batches:
        counting.add(batch)
    return counting.described()


MANY = tuple(f"label {number}" for number in range(60))
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "one label": (("only",), {}),
    "a few labels": (MANY[:4], {"top_k": 1}),
    "many labels": (MANY, {"top_k": 3}),
    "several labels a text": (MANY, {"thresholds": (0.5,) * 60}),
    "several labels, few shown": (MANY[:3], {"thresholds": (0.9, 0.1, 0.5), "top_k": 1}),
    "a value": ((), {}),
}


def random_outputs(labels: int, rows: int, seed: int) -> Any:
    generator = np.random.default_rng(seed)
    if not labels:
        return generator.normal(0, 10.0 ** generator.integers(-5, 8), (rows, 1))
    found = generator.random((rows, labels)) ** generator.integers(1, 9)
    found[generator.random((rows, labels)) < 0.1] = generator.choice([0, 1])
    return found


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 9_999), st.integers(1, 40), st.data())
def test_it_is_what_a_plain_loop_counts_however_the_rows_are_cut(
    kind: str, seed: int, rows: int, data: st.DataObject
) -> None:
    labels, more = KINDS[kind]
    batch = scores(random_outputs(len(labels), rows, seed), labels, **more)
    whole = summary([batch], labels)
    assert_tells(whole, batch.to_pylist(), labels)
    cut = data.draw(st.integers(0, rows))
    front, back = batch.slice(0, cut), batch.slice(cut)
    assert summary([front, back], labels) == whole
    parts = [merge([summary([back], labels), summary([front], labels)]), merge([summary([front, back], labels)])]
    assert parts[0] == parts[1] == merge([whole])


def test_labels_after_the_fiftieth_are_one_group() -> None:
    batch = scores(np.eye(60), MANY)
    found = summary([batch, batch], MANY)
    assert [(one["number"], one["label"], one["rows"]) for one in found["labels"]] == [
        (number, MANY[number], 2) for number in range(50)
    ]
    assert (found["other_labels"]["from"], found["other_labels"]["rows"]) == (50, 20)
    assert found["other_labels"]["statistics"]["probability"] == {
        "rows": 20,
        "sum": 20_000_000,
        "first": 9,
        "bins": [20],
    }


def test_labels_of_a_dictionary_in_another_order_are_the_same_labels() -> None:
    batch = scores(np.eye(4)[[3, 1, 1]], MANY[:4])
    at = batch.schema.get_field_index("label")
    anew = batch.column("label").cast(pa.string()).dictionary_encode().cast(batch.schema.field("label").type)
    assert anew.dictionary.to_pylist() == [MANY[3], MANY[1]]
    other = batch.set_column(at, batch.schema.field(at), anew)
    assert summary([other], MANY[:4]) == summary([batch], MANY[:4])


@pytest.mark.parametrize("kind", ["a few labels", "several labels a text", "a value"])
def test_rows_that_nothing_was_measured_of_count_for_what_is_published(kind: str) -> None:
    labels, more = KINDS[kind]
    batch = scores(random_outputs(len(labels), 10, 1), labels, **more)
    at = batch.schema.get_field_index(MEASURES)
    carried = batch.set_column(at, batch.schema.field(at), unmeasured(10))
    found = summary([batch, carried], labels)
    assert_tells(found, batch.to_pylist() * 2, labels)
    known = denominators(found)
    expected = {name: 2 if name in SAMPLED else 10 if name in ("unknown_tokens", "margin") else 20 for name in known}
    assert known == expected
    assert SAMPLED - set(known) == ({"entropy"} if kind == "a value" else set())
    assert found["statistics"]["unknown_tokens"]["sum"] == 20
    assert found["statistics"]["digits"]["sum"] == 8_000


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_takes_long_is_counted_of_texts_whose_hash_is_a_multiple_of_eight(kind: str) -> None:
    labels, more = KINDS[kind]
    batch = scores(random_outputs(len(labels), 50, 5), labels, **more)
    hashes = np.random.default_rng(6).integers(-(2**63), 2**63 - 1, 50)
    at = batch.schema.get_field_index("text_hash")
    batch = batch.set_column(at, batch.schema.field(at), pa.array(hashes))
    rows, found = batch.to_pylist(), summary([batch], labels)
    chosen = [int(row["id"]) for row in sampled(rows)]
    assert 0 < len(chosen) < 20
    assert found["statistics"]["digits"] == tally(share(row * 1_000 / 1e6) for row in chosen)
    assert found["statistics"]["urls"] == tally(count(row % 2) for row in chosen)
    for one in found["labels"]:
        some = [row for row in rows if has(row, labels[one["number"]])]
        assert one["statistics"].get("digits", {"rows": 0})["rows"] == len(sampled(some))
        assert one["statistics"]["unknown_tokens"] == tally(count(int(row["id"]) % 5) for row in some)


@pytest.mark.parametrize("more", [{}, {"thresholds": (0.5,) * 1_000}], ids=["one label", "several labels a text"])
def test_a_thousand_labels_with_long_names_take_no_more_than_their_bytes(more: dict[str, Any]) -> None:
    labels = tuple(f'"{number} é' * 60 for number in range(1_000))
    batch = scores(random_outputs(1_000, 1_000, 3), labels, **more)
    whole = summary([batch], labels)
    whole["labels"] = [{**label, "rows": label["rows"] * 10**12} for label in whole["labels"]]
    found = limited(whole)
    assert len(written({"summary": found})) <= MAX_BYTES
    assert len(found["labels"]) > 40
    assert all(len(label["label"]) == 40 for label in found["labels"])


def test_the_sum_of_the_largest_values_that_a_batch_can_have_is_exact() -> None:
    for sign in (1, -1):
        values = np.full((MAX_ROWS, 1), sign * 1e9, np.float32)
        values[-1] = sign * 1e-6
        found = summary([scores(values, ())], ())["statistics"]["value"]
        assert found["sum"] == sign * ((MAX_ROWS - 1) * 10**12 + 1)


def test_no_rows_give_no_statistics() -> None:
    assert summary([], MANY) == merge([])
    assert summary([scores(np.empty((0, 60)), MANY)], MANY) == merge([])
